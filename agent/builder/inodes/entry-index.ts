const MAX_LOAD = 0.75;

/** A hash table of entries' numbers, with 4 bytes for each slot. The owner decides what an entry is looked up by. */
export class EntryIndex {
  readonly #hashOf: (entry: number) => number;
  #places = new Uint32Array(1024);
  #count = 0;

  constructor(hashOf: (entry: number) => number) {
    this.#hashOf = hashOf;
  }

  /** The entry with this hash for which `isIt` is true, 0 if there is none. */
  find(hash: number, isIt: (entry: number) => boolean): number {
    const mask = this.#places.length - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const entry = this.#places[place] ?? 0;
      if (entry === 0 || isIt(entry)) return entry;
    }
  }

  /** Adds an entry that is not in the table yet. */
  add(entry: number): void {
    this.#count += 1;
    if (this.#count > this.#places.length * MAX_LOAD) {
      const old = this.#places;
      this.#places = new Uint32Array(old.length * 2);
      for (const one of old) if (one !== 0) this.#put(one);
    }
    this.#put(entry);
  }

  #put(entry: number): void {
    const mask = this.#places.length - 1;
    let place = this.#hashOf(entry) & mask;
    while (this.#places[place] !== 0) place = (place + 1) & mask;
    this.#places[place] = entry;
  }
}
