export interface Response {
  readonly status: number;
  /** The part of the body that was not handed on as it came. */
  readonly body: string;
}

/** dockerd's answers are short; this is far above any. */
const MAX_HEAD_BYTES = 64 * 1024;
const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** How many answers like `100 Continue` may come before the real one. */
const MAX_INTERIM = 10;

type State = 'head' | 'body' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer' | 'done';

/** Reads one HTTP/1.1 response, piece by piece: with a length, or in chunks, as Go's server sends them. */
export class ResponseReader {
  #state: State = 'head';
  #pending: Buffer = Buffer.alloc(0);
  #status = 0;
  #interim = 0;
  /** How many bytes of the body or chunk are still to come. */
  #left = 0;
  #body: Buffer[] = [];
  #bodyBytes = 0;
  readonly #take: ((text: string) => void) | undefined;
  readonly #decoder = new TextDecoder();

  /** @param take gets the body as it comes, and first an empty text when the head is there */
  constructor(take?: (text: string) => void) {
    this.#take = take;
  }

  response(): Response {
    return { status: this.#status, body: Buffer.concat(this.#body).toString('utf8') };
  }

  /**
   * @returns what comes after the response, or undefined if it is not complete yet
   * @throws Error if it is no response
   */
  read(bytes: Buffer): Buffer | undefined {
    let rest: Buffer = bytes;
    while (this.#state !== 'done') {
      if (this.#state === 'body' || this.#state === 'chunk') {
        const part = rest.subarray(0, this.#left);
        this.#add(part);
        rest = rest.subarray(part.length);
        this.#left -= part.length;
        if (this.#left > 0) return undefined;
        this.#state = this.#state === 'body' ? 'done' : 'chunk-end';
        continue;
      }
      const end = this.#state === 'head' ? '\r\n\r\n' : '\r\n';
      const all: Buffer = Buffer.concat([this.#pending, rest]);
      const at = all.indexOf(end);
      if (at === -1) {
        if (all.length > MAX_HEAD_BYTES)
          throw new Error(`expected at most ${MAX_HEAD_BYTES} bytes of a head, found more`);
        this.#pending = all;
        return undefined;
      }
      this.#pending = Buffer.alloc(0);
      rest = all.subarray(at + end.length);
      this.#readLine(all.subarray(0, at).toString('latin1'));
    }
    return rest;
  }

  #readLine(text: string): void {
    if (this.#state === 'head') return this.#readHead(text);
    if (this.#state === 'chunk-end') this.#state = 'chunk-size';
    else if (this.#state === 'trailer') this.#state = text === '' ? 'done' : 'trailer';
    else {
      const size = /^[0-9a-f]{1,8}(?=$|;)/i.exec(text)?.[0];
      if (size === undefined) throw new Error(`expected a chunk's size, found ${JSON.stringify(text.slice(0, 40))}`);
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'chunk';
    }
  }

  #readHead(text: string): void {
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
    if (status === undefined) throw new Error(`expected an HTTP response, found ${JSON.stringify(text.slice(0, 40))}`);
    this.#status = Number(status);
    if (this.#status < 200) {
      this.#interim += 1;
      if (this.#interim > MAX_INTERIM)
        throw new Error(`expected a response after at most ${MAX_INTERIM} that are not the last, found another`);
      return;
    }
    this.#take?.('');
    if (/^transfer-encoding: *chunked *$/im.test(text)) {
      this.#state = 'chunk-size';
      return;
    }
    const length = /^content-length: *(\d{1,9}) *$/im.exec(text)?.[1];
    if (length === undefined && this.#status !== 204 && this.#status !== 304)
      throw new Error('expected an answer with a length or in chunks, found neither');
    this.#left = Number(length ?? 0);
    this.#state = this.#left === 0 ? 'done' : 'body';
  }

  #add(part: Buffer): void {
    if (this.#take !== undefined) {
      this.#take(this.#decoder.decode(part, { stream: true }));
      return;
    }
    this.#bodyBytes += part.length;
    if (this.#bodyBytes > MAX_BODY_BYTES)
      throw new Error(`expected an answer of at most ${MAX_BODY_BYTES} bytes, found more`);
    this.#body.push(Buffer.from(part));
  }
}
