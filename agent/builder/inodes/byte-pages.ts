const PAGE_SHIFT = 16;
const PAGE_BYTES = 1 << PAGE_SHIFT;
const NO_PAGE = Buffer.alloc(0);

/** A growing array of bytes, kept in pages so that growing copies nothing. */
export class BytePages {
  readonly #pages: Buffer[] = [];
  #length = 0;

  /** @returns the offset of the first of the bytes */
  append(bytes: Uint8Array): number {
    const start = this.#length;
    for (let done = 0; done < bytes.length;) {
      const count = Math.min(bytes.length - done, PAGE_BYTES - (this.#length & (PAGE_BYTES - 1)));
      this.#page().set(bytes.subarray(done, done + count), this.#length & (PAGE_BYTES - 1));
      this.#length += count;
      done += count;
    }
    return start;
  }

  /** @param text latin1 */
  appendText(text: string): number {
    const start = this.#length;
    for (let index = 0; index < text.length; index += 1) {
      this.#page()[this.#length & (PAGE_BYTES - 1)] = text.charCodeAt(index);
      this.#length += 1;
    }
    return start;
  }

  at(offset: number): number {
    return (this.#pages[offset >>> PAGE_SHIFT] ?? NO_PAGE)[offset & (PAGE_BYTES - 1)] ?? 0;
  }

  copy(offset: number, length: number, target: Buffer, targetStart: number): void {
    for (let index = 0; index < length; index += 1) target[targetStart + index] = this.at(offset + index);
  }

  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    this.copy(offset, length, bytes, 0);
    return bytes;
  }

  #page(): Buffer {
    const number = this.#length >>> PAGE_SHIFT;
    const page = this.#pages[number] ?? Buffer.alloc(PAGE_BYTES);
    this.#pages[number] = page;
    return page;
  }
}
