import { metadataPaths } from '../docker/layer-db.ts';
import { ledgerFolder, readLedger } from '../overlay2/store/ledger.ts';
import { timesOf } from '../system/describe-folders.ts';
import { readPresent, type Present } from './present.ts';

/**
 * Which of our images and names were there when a dockerd started. It may be asked to prune before we see that it runs.
 */
export class PresentAtStart {
  readonly #dataRoot: string;
  #noted: { readonly store: string; readonly ledger: string; readonly present: Present } | undefined;

  constructor(dataRoot: string) {
    this.#dataRoot = dataRoot;
  }

  /** Notes what is there while no dockerd runs. It is read only where it has changed. */
  note(): void {
    const { root, images } = metadataPaths(this.#dataRoot);
    const [store, ledger] = [timesOf([root, images]), this.#ledger()];
    if (this.#noted?.store === store && this.#noted.ledger === ledger) return;
    try {
      this.#noted = { store, ledger, present: readPresent(this.#dataRoot) };
    } catch {
      this.#noted = undefined;
    }
  }

  /**
   * What was noted last, unless a run has changed the store since. Then it is what that run has left.
   * @throws PreloaderError, system errors
   */
  read(): Present {
    if (this.#noted?.ledger === this.#ledger()) return this.#noted.present;
    const { references, images, next } = readLedger(this.#dataRoot).ledger;
    // A run that was killed has left something in between.
    if (next !== undefined) return readPresent(this.#dataRoot);
    return { names: references, images: new Set(images.keys()), taken: new Set() };
  }

  #ledger(): string {
    return timesOf([ledgerFolder(this.#dataRoot)]);
  }
}
