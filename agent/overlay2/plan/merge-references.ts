import type { Finding } from '../../messages/finding.ts';
import type { ImageID } from '../../docker/ids.ts';
import type { References } from '../../docker/reference-store.ts';
import type { Config } from '../../config/config.ts';
import type { Ledger } from '../ledger.ts';

/** A tag or digest reference as the disks have it, after precedence among them. */
export interface DiskReference {
  readonly image: ImageID;
  readonly label: string;
}

export interface ReferenceMerge {
  /** What to change in repositories.json; undefined means removal. */
  readonly changes: ReadonlyMap<string, ImageID | undefined>;
  /** References that are ours afterwards. */
  readonly own: ReadonlyMap<string, ImageID>;
  /** References that are as we left them, and yet the user's: he has loaded or pulled the image since. */
  readonly reclaimed: ReadonlySet<string>;
  readonly removed: ReadonlyMap<string, ImageID>;
  readonly displaced: ReadonlyMap<string, ImageID>;
  readonly findings: readonly Finding[];
}

export interface ReferenceMergeInput {
  /** repositories.json now. */
  readonly store: References;
  readonly ledger: Ledger;
  readonly disks: ReadonlyMap<string, DiskReference>;
  readonly config: Pick<Config, 'conflicts' | 'removedImages'>;
  /**
   * Whether there is no ledger to tell which names we have put there: then each name that equals a disk's is taken as ours,
   * where its image is.
   */
  readonly ledgerLost: boolean;
  /**
   * Whether dockerd has not written the image since we named it. Ours or the user's, after a load or a pull of the same
   * image the user means it, under whatever name.
   */
  readonly isUntouched: (image: ImageID) => boolean;
  readonly hasImage: (image: ImageID) => boolean;
}

/**
 * The three-way merge of references: the ledger says what we left, the store what is there now, the disks what should be.
 * What the user changed stays the user's.
 */
export function mergeReferences(input: ReferenceMergeInput): ReferenceMerge {
  const merge = new Merge(input);
  const names = new Set([
    ...input.disks.keys(),
    ...input.ledger.references.keys(),
    ...(input.ledger.next?.references.keys() ?? []),
    ...input.ledger.displaced.keys(),
  ]);
  for (const name of [...names].toSorted()) merge.settle(name);
  merge.keepTombstones();
  return merge;
}

class Merge implements ReferenceMerge {
  readonly changes = new Map<string, ImageID | undefined>();
  readonly own = new Map<string, ImageID>();
  readonly reclaimed = new Set<string>();
  readonly removed = new Map<string, ImageID>();
  readonly displaced = new Map<string, ImageID>();
  readonly findings: Finding[] = [];
  readonly #input: ReferenceMergeInput;

  constructor(input: ReferenceMergeInput) {
    this.#input = input;
  }

  settle(name: string): void {
    const now = this.#input.store.get(name);
    const theirs = this.#input.disks.get(name);
    if (now !== undefined && now === this.#input.ledger.references.get(name) && !this.#isUntouched(name, now))
      this.reclaimed.add(name);
    if (now === undefined) this.#settleMissing(name, theirs);
    else if (now === theirs?.image) this.#settleEqual(name, now);
    else if (this.#isUntouched(name, now)) this.#follow(name, theirs);
    else if (theirs !== undefined) this.#settleConflict(name, now, theirs);
    else this.#forgetDisplaced(name, now);
  }

  /** Not in the store: new on the disk, or removed by the user. */
  #settleMissing(name: string, theirs: DiskReference | undefined): void {
    const { ledger, config } = this.#input;
    if (theirs === undefined) {
      if (this.#giveBack(name)) return;
      // Its disk may come back: the removal is remembered.
      const before = ledger.references.get(name);
      if (config.removedImages === 'respect' && before !== undefined) this.removed.set(name, before);
      return;
    }
    // What he removed was the disk's: his own image waits for its name as before.
    this.#keepDisplaced(name);
    const tombstone = ledger.removed.get(name) ?? ledger.references.get(name);
    if (config.removedImages === 'respect' && tombstone === theirs.image) {
      this.removed.set(name, tombstone);
      this.findings.push({
        code: 'TAG_REMOVED',
        label: theirs.label,
        image: name,
        message: `${name}: stays removed, as the user left it; disk ${theirs.label} has it`,
      });
      return;
    }
    this.#take(name, theirs.image);
  }

  /** Removals of tags whose disk is not attached now. */
  keepTombstones(): void {
    const { config, disks, ledger, store } = this.#input;
    if (config.removedImages !== 'respect') return;
    for (const [name, image] of ledger.removed)
      if (!disks.has(name) && !store.has(name) && this.changes.get(name) === undefined) this.removed.set(name, image);
  }

  /** Names the disk's image already: by us, or by the user, who then keeps it when the disk goes or has another. */
  #settleEqual(name: string, now: ImageID): void {
    if (this.#isUntouched(name, now)) {
      this.own.set(name, now);
      this.#keepDisplaced(name);
    } else {
      this.#forgetDisplaced(name, now);
    }
  }

  /**
   * The name is as we left it. The image alone cannot tell: names of the user's and of ours may stand on one image,
   * whosever it is.
   */
  #isUntouched(name: string, now: ImageID): boolean {
    const { ledger, ledgerLost } = this.#input;
    return (ledgerLost || ledger.references.get(name) === now) && this.#input.isUntouched(now);
  }

  /** The user has loaded the image that a disk gave his tag, so his older one no longer waits for the tag. */
  #forgetDisplaced(name: string, now: ImageID): void {
    const { ledger, hasImage } = this.#input;
    const before = ledger.displaced.get(name);
    if (before === undefined || ledger.references.get(name) !== now || !hasImage(before)) return;
    const message =
      `${name}: the disk's image was loaded again, so the user has it; ` +
      `to have his former image under this name, run: docker tag ${before.slice(0, 'sha256:'.length + 12)} ${name}`;
    this.findings.push({ code: 'TAG_CONFLICT', image: name, message });
  }

  #follow(name: string, theirs: DiskReference | undefined): void {
    if (theirs !== undefined) {
      this.#take(name, theirs.image);
      this.#keepDisplaced(name);
      return;
    }
    if (!this.#giveBack(name)) this.changes.set(name, undefined);
  }

  /** No disk claims the name any more: the user's image, which it was taken from, has it again. */
  #giveBack(name: string): boolean {
    const before = this.#input.ledger.displaced.get(name);
    if (before === undefined || !this.#input.hasImage(before)) return false;
    this.changes.set(name, before);
    return true;
  }

  #settleConflict(name: string, now: ImageID, theirs: DiskReference): void {
    const byDisk = this.#input.config.conflicts === 'disk';
    const winner = byDisk ? `disk ${theirs.label} takes it` : 'the user keeps it';
    const message = `${name}: claimed by the user and by disk ${theirs.label}; ${winner} (\`conflicts\`: ${this.#input.config.conflicts})`;
    this.findings.push({
      code: 'TAG_CONFLICT',
      label: theirs.label,
      image: name,
      message,
      conflict: { disks: [theirs.label], user: true, winner: byDisk ? theirs.label : null },
    });
    if (!byDisk) return;
    this.#take(name, theirs.image);
    this.displaced.set(name, now);
  }

  #take(name: string, image: ImageID): void {
    this.changes.set(name, image);
    this.own.set(name, image);
  }

  /** One that he has removed meanwhile waits for nothing, also where a disk brings the same image again. */
  #keepDisplaced(name: string): void {
    const before = this.#input.ledger.displaced.get(name);
    if (before !== undefined && this.#input.hasImage(before)) this.displaced.set(name, before);
  }
}
