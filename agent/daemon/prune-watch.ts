import type { ImageEvent } from '../docker/api/docker-api.ts';
import { isNothing, missingOf, unionOf, type Present } from './present.ts';

export interface PruneWatchOptions {
  /** What of ours is there now. */
  read(): Present;
  /** Whether dockerd prunes images now; undefined where it has not said. */
  isPruning(): Promise<boolean | undefined>;
  /** Brings back what it can. @returns what is there again */
  restore(pruned: Present): Promise<Present>;
  /** Milliseconds since 1970, the clock of dockerd's events. */
  now(): number;
}

/** What was there at a time at which no prune was under way. */
interface Moment {
  readonly present: Present;
  readonly atMs: number;
}

/** A prune that is under way is asked for again after this time only. */
const PRUNING_MS = 10_000;
/** Our clock is read in whole milliseconds. */
const CLOCK_MS = 1;
const MOMENTS = 100;

/**
 * Finds out what a prune has removed. dockerd tells of each removal, by `rmi` as by a prune, in the same words, and of a
 * prune when it is over. So with the first removal of something of ours dockerd is asked whether a prune is under way;
 * where none is, what is gone by then is no prune's. What no answer came for before the prune was over is the prune's.
 */
export class PruneWatch {
  readonly #options: PruneWatchOptions;
  #moments: readonly Moment[];
  #asking = false;
  #isStale = false;
  #pruningUntilMs = 0;
  /** How many prunes are over. */
  #prunes = 0;
  #restoring = 0;
  #restored: Promise<void> = Promise.resolve();

  constructor(options: PruneWatchOptions) {
    this.#options = options;
    this.#moments = [{ present: options.read(), atMs: 0 }];
  }

  /**
   * Where the store cannot be read, what is gone counts as removed: Docker's next start says why.
   * @param event in the order in which dockerd tells of them
   */
  take({ action, id, timeMs }: ImageEvent): void {
    if (action === 'untag' || action === 'delete') {
      if (this.#knows(id)) void this.#ask().catch(() => undefined);
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

  /** Resolves when all that was pruned so far is back. */
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
        const present = this.#options.read();
        const prunes = this.#prunes;
        const isPruning = await this.#options.isPruning();
        const atMs = this.#options.now() + CLOCK_MS;
        // Of one that was over meanwhile perhaps: then it says nothing of the next removal.
        if (isPruning === true && prunes !== this.#prunes) continue;
        if (isPruning === true) this.#pruningUntilMs = atMs + PRUNING_MS;
        else if (isPruning === false) this.#moments = [...this.#moments, { present, atMs }].slice(-MOMENTS);
      }
    } finally {
      this.#asking = false;
    }
  }

  /** What the user has named, loaded or pulled: what came back by his hand is ours as it was, what he gave another image is not. */
  #add(): void {
    const last = this.#moments.at(-1);
    if (last === undefined) return;
    const now = this.#options.read();
    this.#moments = [...this.#moments.slice(0, -1), { ...last, present: unionOf(last.present, now) }];
  }

  async #settle(prunedMs: number): Promise<void> {
    const before = this.#moments.findLast(({ atMs }) => atMs < prunedMs) ?? this.#moments[0];
    const after = this.#options.read();
    const pruned = before === undefined ? after : missingOf(before.present, after);
    this.#moments = [{ present: after, atMs: prunedMs }, ...this.#moments.filter(({ atMs }) => atMs >= prunedMs)];
    if (isNothing(pruned)) return;
    const restored = await this.#options.restore(pruned);
    // A prune that was over meanwhile may have taken them again.
    this.#moments = this.#moments.map((moment) =>
      moment.atMs === prunedMs ? { ...moment, present: unionOf(moment.present, restored) } : moment,
    );
    if (this.#restoring !== 1) return;
    this.#add();
    // And the user what came back first, which nobody has asked about; but the next prune may be under way.
    void this.#ask().catch(() => undefined);
  }
}
