import { plural } from '../text/plural.ts';
import { closeSync, constants, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

const BUFFER_BYTES = 256 * 1024;

/** Bytes that are put aside in order: in memory, or in a temporary file if there are many. */
export class Spool {
  readonly #path: () => string;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #used = 0;
  #fd: number | undefined;
  /** Bytes in the file. */
  #written = 0;

  /** @param path where a temporary file can be made, asked for only when it is needed; the caller removes the file */
  constructor(path: () => string) {
    this.#path = path;
  }

  get sizeBytes(): number {
    return this.#written + this.#used;
  }

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const count = Math.min(bytes.length - done, BUFFER_BYTES - this.#used);
      this.#buffer.set(bytes.subarray(done, done + count), this.#used);
      this.#used += count;
      done += count;
      if (this.#used === BUFFER_BYTES) this.#flush();
    }
  }

  /** All bytes, piece by piece. Each piece is valid only until the next. */
  *pieces(): Generator<Buffer> {
    const buffer = Buffer.alloc(this.#written === 0 ? 0 : BUFFER_BYTES);
    for (let position = 0; position < this.#written;) {
      const count = readSync(this.#fd ?? -1, buffer, 0, Math.min(BUFFER_BYTES, this.#written - position), position);
      if (count === 0)
        throw new Error(`${this.#path()}: expected ${plural(this.#written - position, 'more byte')}, found the end`);
      position += count;
      yield buffer.subarray(0, count);
    }
    if (this.#used > 0) yield this.#buffer.subarray(0, this.#used);
  }

  /** Empties it, to be used for other bytes. */
  clear(): void {
    if (this.#fd !== undefined) ftruncateSync(this.#fd);
    this.#written = 0;
    this.#used = 0;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #flush(): void {
    this.#fd ??= openSync(this.#path(), constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    for (let done = 0; done < this.#used;)
      done += writeSync(this.#fd, this.#buffer, done, this.#used - done, this.#written + done);
    this.#written += this.#used;
    this.#used = 0;
  }
}
