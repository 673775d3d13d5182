/**
 * As many levels as Go's encoding/json takes, and so do dockerd and containerd (src/encoding/json/scanner.go,
 * maxNestingDepth).
 */
const MAX_LEVELS = 10_000;

/**
 * Parses JSON. Each engine has words of its own for what is no JSON, and takes as many levels as it can. This, and
 * agent/tiny/native/json.c, make both executables refuse the same texts in the same words.
 * @throws SyntaxError for what RFC 8259 has not @throws RangeError for more levels than dockerd takes
 */
export function parseStrictly(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // What there is no memory for is told by the runtime.
    throw new Scan(text).fault() ?? error;
  }
  if (isTooDeep(text)) throw tooDeep();
  return value;
}

const tooDeep = (): Error => new RangeError(`expected JSON of at most ${MAX_LEVELS} levels, found more`);

const byteOf = (sign: string): number => sign.charCodeAt(0);
const END = -1;
const [QUOTE, BACKSLASH, COMMA, COLON] = [byteOf('"'), byteOf('\\'), byteOf(','), byteOf(':')];
const [OBJECT, OBJECT_END, ARRAY, ARRAY_END] = [byteOf('{'), byteOf('}'), byteOf('['), byteOf(']')];
const isIn = (signs: string, byte: number): boolean => byte !== END && signs.includes(String.fromCharCode(byte));

/** Whether JSON has more levels than are taken. */
function isTooDeep(json: string): boolean {
  if (json.length <= 2 * MAX_LEVELS) return false;
  let levels = 0;
  let isText = false;
  for (let at = 0; at < json.length; at += 1) {
    const sign = json.charCodeAt(at);
    if (sign === QUOTE) isText = !isText;
    else if (isText) at += sign === BACKSLASH ? 1 : 0;
    else if (sign === OBJECT || sign === ARRAY) levels += 1;
    else if (sign === OBJECT_END || sign === ARRAY_END) levels -= 1;
    if (levels > MAX_LEVELS) return true;
  }
  return false;
}

/** Thrown where it does not go on, with what was expected there. */
class Refused extends Error {}

/** Looks for what is wrong with a text. */
class Scan {
  readonly #bytes: Buffer;
  #at = 0;
  /** What ends each level. */
  readonly #ends: ('}' | ']')[] = [];

  constructor(text: string) {
    this.#bytes = Buffer.from(text);
  }

  /** @returns undefined where nothing is wrong */
  fault(): Error | undefined {
    try {
      this.#text();
      return undefined;
    } catch (error) {
      if (!(error instanceof Refused)) return error as Error;
      const found = this.#peek();
      if (found === END) return new SyntaxError(`expected JSON, found its end where ${error.message} was expected`);
      const shown =
        found > 0x20 && found < 0x7f ? `'${String.fromCharCode(found)}'` : `0x${found.toString(16).padStart(2, '0')}`;
      return new SyntaxError(
        `expected JSON, found ${shown} as byte ${this.#at + 1}, where ${error.message} was expected`,
      );
    }
  }

  #peek(): number {
    return this.#bytes[this.#at] ?? END;
  }

  #skipSpace(): void {
    while (isIn(' \n\r\t', this.#peek())) this.#at += 1;
  }

  #take(wanted: number): boolean {
    if (this.#peek() !== wanted) return false;
    this.#at += 1;
    return true;
  }

  #text(): void {
    for (let isOver = false; !isOver;) {
      this.#skipSpace();
      const byte = this.#peek();
      const isOpening = isIn('{[', byte);
      if (!isOpening) this.#scalar();
      if (!isOpening || this.#isEmpty(byte === OBJECT)) isOver = !this.#goesOn();
    }
  }

  /** Enters an array or an object. @returns whether it has nothing */
  #isEmpty(isObject: boolean): boolean {
    this.#at += 1;
    if (this.#ends.length === MAX_LEVELS) throw tooDeep();
    this.#ends.push(isObject ? '}' : ']');
    this.#skipSpace();
    const isEmpty = this.#peek() === (isObject ? OBJECT_END : ARRAY_END);
    if (!isEmpty && isObject) this.#key();
    return isEmpty;
  }

  /** Goes on behind a value. @returns whether another one is to come */
  #goesOn(): boolean {
    for (;;) {
      this.#skipSpace();
      const end = this.#ends.at(-1);
      if (end === undefined) {
        if (this.#at < this.#bytes.length) throw new Refused('the end');
        return false;
      }
      if (this.#take(COMMA)) {
        if (end === '}') this.#key();
        return true;
      }
      if (!this.#take(byteOf(end))) throw new Refused(`',' or '${end}'`);
      this.#ends.pop();
    }
  }

  #key(): void {
    this.#skipSpace();
    if (!this.#take(QUOTE)) throw new Refused('a string');
    this.#string();
    this.#skipSpace();
    if (!this.#take(COLON)) throw new Refused("':'");
  }

  #scalar(): void {
    if (this.#take(QUOTE)) return this.#string();
    if (this.#take(byteOf('-')) || isIn('0123456789', this.#peek())) return this.#number();
    for (const word of ['true', 'false', 'null'])
      if (this.#bytes.toString('latin1', this.#at, this.#at + word.length) === word) {
        this.#at += word.length;
        return;
      }
    throw new Refused('a value');
  }

  #number(): void {
    if (!this.#take(byteOf('0'))) this.#digits();
    if (this.#take(byteOf('.'))) this.#digits();
    if (!isIn('eE', this.#peek())) return;
    this.#at += 1;
    if (isIn('+-', this.#peek())) this.#at += 1;
    this.#digits();
  }

  #digits(): void {
    if (!isIn('0123456789', this.#peek())) throw new Refused('a digit');
    while (isIn('0123456789', this.#peek())) this.#at += 1;
  }

  /** Behind its first quote. */
  #string(): void {
    for (;;) {
      const byte = this.#peek();
      if (byte < 0x20) throw new Refused(byte === END ? 'the end of a string' : 'no control character in a string');
      this.#at += 1;
      if (byte === QUOTE) return;
      if (byte === BACKSLASH) this.#escape();
    }
  }

  #escape(): void {
    const letter = this.#peek();
    if (!isIn('"\\/bfnrtu', letter)) throw new Refused('one of "\\/bfnrtu behind a backslash');
    this.#at += 1;
    for (let count = 0; letter === byteOf('u') && count < 4; count += 1) {
      if (!isIn('0123456789abcdefABCDEF', this.#peek())) throw new Refused('four hex digits behind \\u');
      this.#at += 1;
    }
  }
}
