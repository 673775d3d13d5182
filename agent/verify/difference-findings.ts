import type { MountedDisk } from '../boot/mount-disks.ts';
import type { ImageID } from '../docker/ids.ts';
import type { Finding } from '../messages/finding.ts';
import type { Plan } from '../overlay2/plan/make-plan.ts';
import type { Store } from '../overlay2/store/store.ts';

/** A store, and what it should be. */
export interface Compared {
  readonly store: Store;
  readonly plan: Plan;
  readonly disks: readonly MountedDisk[];
  /** The command that carries out the plan. */
  readonly cure: string;
}

/** How a difference between a store and its disks is told, and what to type. */
export class DifferenceFindings {
  readonly #store: Store;
  readonly #cure: string;

  constructor({ store, cure }: Compared) {
    this.#store = store;
    this.#cure = cure;
  }

  /** Something is due: a disk came or went, or the user removed a tag. */
  differs(what: string, fields: Partial<Finding> = {}): Finding {
    return { code: 'STORE_DIFFERS', message: `${what}; run: ${this.#cure}`, ...fields };
  }

  /** Something is wrong. @param cure what mends it, if a run does not */
  damaged(what: string, fields: Partial<Finding> = {}, cure = this.#cure): Finding {
    return { code: 'STORE_DAMAGED', message: `${what}; run: ${cure}`, ...fields };
  }

  /**
   * The same for a file with wrong content. It has to be removed, because a plan trusts sizes, and only writes missing
   * files.
   */
  toReplace(what: string, file: string, fields: Partial<Finding> = {}): Finding {
    return this.damaged(what, fields, `rm ${file} && ${this.#cure}`);
  }

  /** A name of an image, or its shortened id. */
  nameOf(id: ImageID): string {
    return [...this.#store.referenceStore.references].find(([, image]) => image === id)?.[0] ?? id.slice(0, 19);
  }
}
