/** Reads a stream of bytes in pieces whose length the caller chooses. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #current: Buffer = Buffer.alloc(0);
  #offset = 0;
  /** How many bytes the caller has read so far. */
  position = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** At most `limit` bytes: as many as are available without copying; undefined at the end. */
  async some(limit: number): Promise<Buffer | undefined> {
    if (this.#offset === this.#current.length && !(await this.#fill())) return undefined;
    const piece = this.#current.subarray(this.#offset, this.#offset + limit);
    this.#offset += piece.length;
    this.position += piece.length;
    return piece;
  }

  /** Exactly `length` bytes, or fewer if the stream ends before. */
  async exactly(length: number): Promise<Buffer> {
    const first = (await this.some(length)) ?? Buffer.alloc(0);
    if (first.length === length || first.length === 0) return first;
    const pieces = [first];
    for (let missing = length - first.length; missing > 0;) {
      const piece = await this.some(missing);
      if (piece === undefined) break;
      pieces.push(piece);
      missing -= piece.length;
    }
    return Buffer.concat(pieces);
  }

  /** Ends the source early, so that its files and child processes are released. */
  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #fill(): Promise<boolean> {
    for (;;) {
      const { value, done } = await this.#source.next();
      if (done === true) return false;
      if (value.length === 0) continue;
      this.#current = Buffer.from(value.buffer, value.byteOffset, value.length);
      this.#offset = 0;
      return true;
    }
  }
}
