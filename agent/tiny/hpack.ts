import { TinyBuffer } from './buffer.ts';

/**
 * Header fields in HTTP/2 (RFC 7541), without the table that both sides would make up as they go: whoever has been told
 * so (SETTINGS_HEADER_TABLE_SIZE 0) refers to nothing there.
 */

/** Of the fields that have a number, only `:status` matters in gRPC's answers. Its values have these numbers. */
const STATUS = { first: 8, values: ['200', '204', '206', '304', '400', '404', '500'] } as const;
const STATIC_FIELDS = 61;

/** How the kinds of fields begin, and how many bits of the first byte belong to the number (6.1 to 6.3). */
const INDEXED = { mask: 0x80, is: 0x80, bits: 7 };
const RESIZE = { mask: 0xe0, is: 0x20, bits: 5 };
const ADDED = { mask: 0xc0, is: 0x40, bits: 6 };
const LITERAL_BITS = 4;
const NEVER_INDEXED = 0x10;
/** In the first byte of a text: it is in Huffman's code. */
const HUFFMAN = 0x80;
const TEXT_BITS = 7;
const MAX_INTEGER_FACTOR = 2 ** 21;

/** Encodes fields. None of them is to be put into a table. */
export function encodeFields(fields: readonly (readonly [name: string, value: string])[]): TinyBuffer {
  return TinyBuffer.concat(
    fields.flatMap(([name, value]) => [TinyBuffer.from([NEVER_INDEXED]), ...encodeText(name), ...encodeText(value)]),
  );
}

function encodeText(text: string): TinyBuffer[] {
  const bytes = TinyBuffer.from(text);
  return [encodeInteger(bytes.length, TEXT_BITS), bytes];
}

function encodeInteger(value: number, bits: number): TinyBuffer {
  const most = 2 ** bits - 1;
  if (value < most) return TinyBuffer.from([value]);
  const bytes = [most];
  let left = value - most;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
  return TinyBuffer.from([...bytes, left]);
}

/**
 * @returns the fields by their names, but for those that are known by a number, of which only `:status` is there
 * @throws Error
 */
export function decodeFields(block: TinyBuffer): Record<string, string> {
  const reader = new BlockReader(block);
  const fields: Record<string, string> = {};
  while (!reader.isAtEnd()) {
    if (reader.begins(INDEXED)) {
      const index = reader.integer(INDEXED.bits);
      const name = nameAt(index);
      if (name !== undefined) fields[name] = STATUS.values[index - STATUS.first] ?? '';
    } else if (reader.begins(RESIZE)) {
      const size = reader.integer(RESIZE.bits);
      if (size !== 0) throw new Error(`expected header fields without a table, found one of ${size} bytes`);
    } else {
      const index = reader.integer(reader.begins(ADDED) ? ADDED.bits : LITERAL_BITS);
      const name = index === 0 ? reader.text() : nameAt(index);
      const value = reader.text();
      if (name !== undefined) fields[name] = value;
    }
  }
  return fields;
}

/** @returns undefined for one that does not count @throws Error */
function nameAt(index: number): string | undefined {
  if (index < 1 || index > STATIC_FIELDS)
    throw new Error(`expected a header field from 1 to ${STATIC_FIELDS}, found ${index}`);
  return STATUS.values[index - STATUS.first] === undefined ? undefined : ':status';
}

class BlockReader {
  readonly #block: TinyBuffer;
  #at = 0;

  constructor(block: TinyBuffer) {
    this.#block = block;
  }

  isAtEnd(): boolean {
    return this.#at === this.#block.length;
  }

  begins({ mask, is }: { readonly mask: number; readonly is: number }): boolean {
    return ((this.#block[this.#at] ?? 0) & mask) === is;
  }

  integer(bits: number): number {
    const most = 2 ** bits - 1;
    let value = this.#byte() & most;
    if (value < most) return value;
    for (let factor = 1; factor <= MAX_INTEGER_FACTOR; factor *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new Error('expected a number of at most 5 bytes in header fields, found a longer one');
  }

  text(): string {
    const isCoded = this.begins({ mask: HUFFMAN, is: HUFFMAN });
    const length = this.integer(TEXT_BITS);
    const end = this.#at + length;
    if (end > this.#block.length)
      throw new Error(`expected ${length} bytes in header fields, found ${this.#block.length - this.#at}`);
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    return isCoded ? decodeHuffman(bytes) : bytes.toString('latin1');
  }

  #byte(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw new Error('expected more of header fields, found their end');
    this.#at += 1;
    return byte;
  }
}

/**
 * How many bits the code of each byte has, from `a`: 5; at the end that of the code that stands for the end (RFC 7541,
 * appendix B). The codes follow from that: they count up, the shortest ones first.
 */
const LENGTHS = [
  'isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibcccccccccccccccccccc',
  'ccdcdioijbkabababbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrt',
  'qrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz',
].join('');
const SHORTEST = 5;
const LONGEST = 30;
const END = 256;

/** Of the codes of some length: the first one, and what each of them stands for. */
interface Codes {
  readonly first: number;
  readonly symbols: readonly number[];
}

let known: readonly (Codes | undefined)[] | undefined;

/** By their length. */
function huffmanCodes(): readonly (Codes | undefined)[] {
  const codes: Codes[] = [];
  let first = 0;
  for (let length = SHORTEST; length <= LONGEST; length += 1) {
    const letter = String.fromCharCode('a'.charCodeAt(0) + length - SHORTEST);
    const symbols = LENGTHS.split('').flatMap((each, symbol) => (each === letter ? [symbol] : []));
    codes[length] = { first, symbols };
    first = 2 * (first + symbols.length);
  }
  return codes;
}

/** @throws Error */
function decodeHuffman(bytes: Uint8Array): string {
  const codes = (known ??= huffmanCodes());
  const decoded: number[] = [];
  let [code, length] = [0, 0];
  for (const byte of bytes)
    for (let bit = 7; bit >= 0; bit -= 1) {
      code = 2 * code + ((byte >> bit) & 1);
      length += 1;
      const of = codes[length];
      const symbol = of?.symbols[code - of.first];
      if (symbol === END || length > LONGEST) throw new Error('expected a text in header fields, found an end in it');
      if (symbol === undefined) continue;
      decoded.push(symbol);
      [code, length] = [0, 0];
    }
  // The last byte is filled with the beginning of the end's code: ones.
  if (length > 7 || code !== 2 ** length - 1)
    throw new Error('expected the end of a text in header fields, found none');
  return TinyBuffer.from(decoded).toString('latin1');
}
