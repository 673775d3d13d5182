/** AbortController, as far as it is used after READY. */
export class TinyAbortController {
  readonly signal = new TinyAbortSignal();

  abort(): void {
    this.signal.end();
  }
}

class TinyAbortSignal {
  #listeners: (() => void)[] = [];
  aborted = false;

  addEventListener(_event: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  end(): void {
    this.aborted = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}
