import { every } from '../../system/clock.ts';
import { PassingFault } from './client-fault.ts';

/** Ends a copy to which no bytes come for a while: at least `stallMs`, at most twice that. */
export class Stall {
  readonly #abort = new AbortController();
  readonly #end: () => void;
  #hasMoved = true;

  constructor(name: string, stallMs: number) {
    this.#end = every(stallMs, () => {
      const message = `${name}: expected more of its layers, found that none came for ${stallMs / 1000} s`;
      if (!this.#hasMoved) this.#abort.abort(new PassingFault('BUILD_FAILED', message));
      this.#hasMoved = false;
    });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  postpone(): void {
    this.#hasMoved = true;
  }

  end(): void {
    this.#end();
  }
}
