import type { ImageEvent } from '../docker/api/docker-api.ts';
import { isNothing, missingOf, nothingThere, unionOf, type Present } from './present.ts';

export interface PruneWatchOptions {
  /** Which of our images and names are there now. */
  read(): Present;
  /** Which were there when dockerd started, if all that it has done since then comes as events. */
  readonly before?: Present | undefined;
  /** Whether dockerd is pruning images now; undefined if it did not say. */
  isPruning(): Promise<boolean | undefined>;
  /** Brings back what it can. @returns what came back, also where it has gone again meanwhile */
  restore(pruned: Present): Promise<Present>;
  /** CLOCK_MONOTONIC in milliseconds, as the times of events. The time of day jumps when it is set. */
  now(): number;
}

/** What was there at a time when no prune was under way, with what was on its way back by then. */
interface Moment {
  readonly present: Present;
  readonly atMs: number;
}

/** When a prune is under way, dockerd is asked again only after this time. */
const PRUNING_MS = 10_000;
/** The time of day, by which the age of an event is known, has a resolution of one millisecond. */
const CLOCK_MS = 1;
const MOMENTS = 100;

/**
 * Finds out what a prune has removed. dockerd reports each removal in the same way, whether by `rmi` or by a prune, and
 * reports a prune only when it is over. So at the first removal of something of ours, dockerd is asked whether a prune
 * is under way. If not, whatever is gone by then was not removed by a prune. If dockerd has not answered before the
 * prune is over, the removal counts as the prune's.
 */
export class PruneWatch {
  readonly #options: PruneWatchOptions;
  #moments: readonly Moment[];
  #asking = false;
  /** What was there when dockerd was asked the question that it has not answered yet. */
  #asked: Present = nothingThere;
  /** What is being restored, without what was seen to be back. */
  #coming: Present = nothingThere;
  #isStale = false;
  #pruningUntilMs = 0;
  /** How many prunes have ended. */
  #prunes = 0;
  #restoring = 0;
  #restored: Promise<void> = Promise.resolve();

  constructor(options: PruneWatchOptions) {
    this.#options = options;
    this.#moments = [{ present: options.before ?? options.read(), atMs: 0 }];
    // What is gone since then, and not by one of the prunes that are told now, was removed.
    if (options.before !== undefined) this.removed();
  }

  /**
   * Takes an event of dockerd. If the store cannot be read, what is gone counts as removed, and Docker's next start
   * says why.
   * @param event the events have to come in dockerd's order
   */
  take({ action, id, name, timeMs }: ImageEvent): void {
    if (action === 'tag' || action === 'delete') this.#arrived(action, id, name);
    if (action === 'untag' || action === 'delete') {
      if (this.#knows(id)) this.removed();
    } else if (action === 'prune') {
      this.#pruningUntilMs = 0;
      this.#prunes += 1;
      this.#restoring += 1;
      this.#restored = this.#restored
        .then(() => this.#settle(timeMs))
        .catch(() => undefined)
        .finally(() => (this.#restoring -= 1));
    } else if (this.#restoring === 0) {
      this.#add();
    }
  }

  /** Something may have been removed: dockerd is asked about it. */
  removed(): void {
    void this.#ask().catch(() => undefined);
  }

  /** Resolves when everything that was pruned so far is back. */
  get settled(): Promise<void> {
    return this.#restored;
  }

  #knows(id: string): boolean {
    return this.#moments.some(({ present }) =>
      [...present.images, ...present.names.values()].some((image) => image === id),
    );
  }

  async #ask(): Promise<void> {
    this.#isStale = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#isStale && this.#options.now() > this.#pruningUntilMs) {
        this.#isStale = false;
        this.#asked = unionOf(this.#coming, this.#options.read());
        const prunes = this.#prunes;
        const isPruning = await this.#options.isPruning();
        const atMs = this.#options.now() + CLOCK_MS;
        // A prune has ended meanwhile, and the answer may be about that one. Then it says nothing about the next
        // removal.
        if (isPruning === true && prunes !== this.#prunes) continue;
        if (isPruning === true) this.#pruningUntilMs = atMs + PRUNING_MS;
        else if (isPruning === false)
          this.#moments = [...this.#moments, { present: this.#asked, atMs }].slice(-MOMENTS);
      }
    } finally {
      this.#asking = false;
    }
  }

  /**
   * Adds what the user has tagged, loaded or pulled. What the user brought back is ours as before. A name that the user
   * gave to another image is not.
   */
  #add(): void {
    const last = this.#moments.at(-1);
    if (last === undefined) return;
    const now = this.#options.read();
    this.#moments = [...this.#moments.slice(0, -1), { ...last, present: unionOf(last.present, now) }];
  }

  /**
   * A name that is given has come back, and so has an image that is removed. If it is gone from now on, somebody has
   * removed it, or the next prune.
   */
  #arrived(action: 'tag' | 'delete', id: string, given: string | undefined): void {
    const { names, images, taken } = this.#coming;
    if (this.#restoring === 0) return;
    const isComing = (name: string, image: string): boolean => image !== id || (action === 'tag' && name !== given);
    this.#coming = {
      names: new Map([...names].filter(([name, image]) => isComing(name, image))),
      images: action === 'tag' ? images : new Set([...images].filter((image) => image !== id)),
      taken,
    };
  }

  async #settle(prunedMs: number): Promise<void> {
    const before = this.#moments.findLast(({ atMs }) => atMs < prunedMs) ?? this.#moments[0];
    const after = this.#options.read();
    const pruned = before === undefined ? after : missingOf(before.present, after);
    const later = this.#moments.filter(({ atMs }) => atMs >= prunedMs);
    // What this prune took is on its way back from here on, so at each later time it counts as there: the next prune
    // may come before it is, and dockerd may have been asked before that was known.
    this.#moments = [{ present: after, atMs: prunedMs }, ...later];
    if (isNothing(pruned)) return;
    this.#change((present) => unionOf(pruned, present));
    this.#coming = pruned;
    try {
      const lost = missingOf(pruned, await this.#options.restore(pruned));
      this.#change((present) => missingOf(present, lost));
    } finally {
      this.#coming = nothingThere;
    }
    if (this.#restoring !== 1) return;
    this.#add();
    // The user may also have removed what came back first, and dockerd was not asked about that. Or the next prune may
    // be under way.
    void this.#ask().catch(() => undefined);
  }

  /** Changes what is known of each time since the last prune. */
  #change(change: (present: Present) => Present): void {
    this.#moments = this.#moments.map(({ present, atMs }) => ({ present: change(present), atMs }));
    this.#asked = change(this.#asked);
  }
}
