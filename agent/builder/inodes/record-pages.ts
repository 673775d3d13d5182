const PAGE_SHIFT = 12;
const PAGE_RECORDS = 1 << PAGE_SHIFT;
const NO_PAGE = new Uint32Array(0);

/**
 * Records of a fixed number of 32-bit words, numbered from 1 on. They are kept in pages so that growing copies nothing.
 */
export class RecordPages {
  readonly #words: number;
  readonly #pages: Uint32Array[] = [];
  /** The number of the last record. */
  #last = 0;

  constructor(words: number) {
    this.#words = words;
  }

  get last(): number {
    return this.#last;
  }

  /** Adds a record of zeros; returns its number. */
  add(): number {
    this.#last += 1;
    const page = this.#last >>> PAGE_SHIFT;
    this.#pages[page] ??= new Uint32Array(PAGE_RECORDS * this.#words);
    return this.#last;
  }

  get(record: number, word: number): number {
    return (this.#pages[record >>> PAGE_SHIFT] ?? NO_PAGE)[(record & (PAGE_RECORDS - 1)) * this.#words + word] ?? 0;
  }

  set(record: number, word: number, value: number): void {
    (this.#pages[record >>> PAGE_SHIFT] ?? NO_PAGE)[(record & (PAGE_RECORDS - 1)) * this.#words + word] = value;
  }
}
