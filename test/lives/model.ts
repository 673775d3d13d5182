import assert from 'node:assert/strict';
import type { DataRoot } from './data-root.ts';
import type { LifeImage } from './images.ts';
import type { LifeDisk } from './universe.ts';

export interface Settings {
  readonly conflicts: 'user' | 'disk';
  readonly removedImages: 'restore' | 'respect';
  readonly prunedImages: 'restore' | 'respect';
}

export interface AttachedDisk {
  readonly label: string;
  readonly disk: LifeDisk;
}

/** What dockerd has at a moment. */
export interface Seen {
  readonly names: ReadonlyMap<string, string>;
  readonly images: ReadonlySet<string>;
}

/** What the user has told dockerd to do: what may have changed by it. */
export interface Did {
  /** Names that he gave, with the image where it is known before. */
  readonly gives?: ReadonlyMap<string, string | undefined>;
  /** Names that may be gone. */
  readonly takes?: (name: string) => boolean;
  /** Whether images without a name may be gone. */
  readonly removes?: boolean;
  /**
   * Whether what a disk has comes back: at once, or at Docker's next start; where dockerd is killed meanwhile, nobody
   * can tell.
   */
  readonly comesBack?: boolean | 'perhaps';
  /** Images that he has loaded, pulled or made: these are his, whoever brought them before, and so are their names. */
  readonly wrote?: readonly string[];
  /** Images that a prune has taken, whosever they were, and that the daemon has brought back from a disk. */
  readonly brought?: readonly string[];
}

/** What a whole run of the agent is to make of the names. */
export interface Outcome {
  readonly names: Map<string, string>;
  /** Of these, the user's. */
  readonly users: Set<string>;
  /** Those of the disks. */
  readonly left: Map<string, string>;
  readonly waiting: Map<string, string>;
  readonly removals: Map<string, string>;
  /** Names on which the user and a disk disagree. */
  readonly conflicts: string[];
  /** What a disk has but cannot offer: a layer is nowhere. */
  readonly incomplete: LifeImage[];
  /** What else a name may be, where a run was killed before the user removed it. */
  readonly either: Map<string, readonly (string | undefined)[]>;
}

/**
 * Whose is what, by what the user has done and by the README's words on what a disk may do; it knows neither ledger nor
 * mark. What dockerd makes of a user's command is taken from dockerd, what the agent may make of it is told here.
 */
export class Model {
  names: ReadonlyMap<string, string> = new Map();
  readonly images = new Set<string>();
  #users = new Set<string>();
  /** Names as a disk gave them at the last start of Docker, whether they are still there or not. */
  #left = new Map<string, string>();
  /** The user's images whose name a disk has taken. */
  #waiting = new Map<string, string>();
  /** Of these, what he has removed since; loaded again before the next start of Docker, it has not gone. */
  #gone = new Set<string>();
  /** Names of disks that the user has removed, to be respected. */
  #removals = new Map<string, string>();
  /** Images that a disk brought and that dockerd has not written since. */
  #put = new Set<string>();
  /** Images that the user has loaded, pulled or made since Docker's last start with the agent. */
  readonly #again = new Set<string>();
  /** What a run that was killed has changed, or was about to. */
  #half = new Set<string>();
  /** Of these, what the user has removed then. */
  #unsure = new Set<string>();

  get users(): ReadonlySet<string> {
    return this.#users;
  }

  /** Names that a disk has given, with their images. */
  ofDisks(): [string, string][] {
    return [...this.names].filter(([name]) => !this.#users.has(name));
  }

  /**
   * What of images must be there: the user's own, and those that a name of his is on, or waits for, unless he has
   * removed them.
   */
  get needed(): ReadonlySet<string> {
    return new Set([
      ...this.images,
      ...[...this.#users].flatMap((name) => this.names.get(name) ?? []),
      ...[...this.#waiting.values()].filter((image) => !this.#gone.has(image)),
    ]);
  }

  /** dockerd has done what the user said, or a part of it where it was killed. */
  learn(
    now: Seen,
    { gives = new Map(), takes = () => false, removes = false, comesBack = false, wrote = [], brought = [] }: Did,
  ): void {
    for (const image of brought) {
      this.images.delete(image);
      this.#put.add(image);
    }
    for (const image of wrote) this.#again.add(image);
    for (const name of new Set([...this.names.keys(), ...now.names.keys()])) {
      const [before, after] = [this.names.get(name), now.names.get(name)];
      if (before === after) continue;
      if (after === undefined) {
        assert.ok(takes(name), `${name} is gone, which nobody asked for`);
        const isUsers = this.#users.delete(name);
        if (this.#half.has(name) || (comesBack === 'perhaps' && !isUsers)) this.#unsure.add(name);
        else if (comesBack === true && !isUsers) this.#left.delete(name);
      } else {
        assert.ok(
          gives.has(name) && (gives.get(name) ?? after) === after,
          `${name} names ${after}, which nobody asked for`,
        );
        // What the disk gave the name, it has again: as if nobody had touched it.
        if (after === this.#left.get(name) && !this.#again.has(after)) this.#users.delete(name);
        else this.#users.add(name);
        this.#unsure.delete(name);
      }
    }
    for (const image of this.images) {
      if (now.images.has(image)) continue;
      assert.ok(removes && ![...now.names.values()].includes(image), `image ${image} is gone, which nobody asked for`);
      this.images.delete(image);
    }
    for (const image of this.#waiting.values()) {
      if (now.images.has(image)) this.#gone.delete(image);
      else if (!this.#gone.has(image)) {
        assert.ok(removes, `image ${image} is gone, which nobody asked for`);
        this.#gone.add(image);
      }
    }
    for (const image of this.#put) if (!now.images.has(image)) this.#put.delete(image);
    for (const image of now.images) if (!this.#put.has(image)) this.images.add(image);
    for (const image of wrote) {
      this.#put.delete(image);
      this.images.add(image);
      for (const [name, id] of now.names) if (id === image) this.#users.add(name);
    }
    this.names = now.names;
  }

  /** @param disks in rising precedence */
  predict(disks: readonly AttachedDisk[], { conflicts, removedImages }: Settings, store: DataRoot): Outcome {
    const respects = removedImages === 'respect';
    const images = store.images();
    const { claims, incomplete } = claimsOf(disks, store);
    const out: Outcome = {
      names: new Map(),
      users: new Set(),
      left: new Map(),
      waiting: new Map(),
      removals: new Map(),
      conflicts: [],
      incomplete,
      either: new Map(),
    };
    for (const name of new Set([
      ...this.names.keys(),
      ...claims.keys(),
      ...this.#left.keys(),
      ...this.#waiting.keys(),
      ...this.#removals.keys(),
    ])) {
      const [now, theirs, waits] = [this.names.get(name), claims.get(name), this.#waiting.get(name)];
      const waiting = waits !== undefined && images.has(waits) ? waits : undefined;
      const isUsers = this.#users.has(name);
      const removed = this.#removals.get(name) ?? this.#left.get(name);
      if (now === undefined && this.#unsure.has(name))
        out.either.set(name, theirs === undefined ? [undefined, waiting] : [theirs, ...(respects ? [undefined] : [])]);
      if (isUsers && now !== undefined) {
        const isConflict = theirs !== undefined && theirs !== now;
        if (isConflict) out.conflicts.push(name);
        if (isConflict && conflicts === 'disk') give(out, name, theirs, now);
        else keep(out, name, now);
      } else if (theirs !== undefined) {
        if (now === undefined && respects && removed === theirs) {
          out.removals.set(name, theirs);
          if (waiting !== undefined) out.waiting.set(name, waiting);
        } else give(out, name, theirs, waiting);
      } else if (waiting !== undefined) keep(out, name, waiting);
      else if (now === undefined && respects && removed !== undefined) out.removals.set(name, removed);
    }
    return out;
  }

  /** The agent has done all of it. @throws AssertionError where the names are others */
  settle(outcome: Outcome, store: DataRoot): void {
    const now = store.names();
    const expected = new Map(outcome.names);
    for (const [name, values] of outcome.either) {
      const found = now.get(name);
      assert.ok(values.includes(found), `${name}: expected one of ${values.join(', ')}, found ${found}`);
      if (found === undefined) expected.delete(name);
      else expected.set(name, found);
    }
    assert.deepEqual(sorted(now), sorted(expected), 'names after the agent');
    this.#gone.clear();
    this.#unsure = new Set([...outcome.either.keys()].filter((name) => !now.has(name)));
    this.#half.clear();
    this.#take(outcome, store);
  }

  /**
   * The agent was killed. Names change in one step: they are as before, or as they are to be.
   * @returns whether they have changed
   */
  settleKilled(outcome: Outcome, store: DataRoot): boolean {
    const now = store.names();
    const isNew = isSame(now, outcome.names) || (outcome.either.size > 0 && !isSame(now, this.names));
    if (!isNew) assert.deepEqual(sorted(now), sorted(this.names), 'names after a killed agent');
    for (const name of new Set([
      ...this.names.keys(),
      ...outcome.names.keys(),
      ...this.#left.keys(),
      ...outcome.left.keys(),
      ...this.#removals.keys(),
    ])) {
      // A removal that is over, since the user has the name again, it may still have in its ledger.
      const isSettled =
        this.names.get(name) === outcome.names.get(name) &&
        this.#left.get(name) === outcome.left.get(name) &&
        this.#removals.get(name) === outcome.removals.get(name);
      if (isSettled) continue;
      if (now.has(name)) this.#half.add(name);
      // Removed by the user before: whether that is remembered, nobody can see. Else it is the run that removed it, or
      // had yet to add it.
      else if (!this.names.has(name) && this.#left.has(name)) this.#unsure.add(name);
    }
    // Whether the ledger still has what waits for an image that is gone, nobody can see.
    for (const [name, image] of this.#waiting) if (this.#gone.has(image)) this.#unsure.add(name);
    const waiting = this.#waiting;
    if (isNew) this.#take(outcome, store);
    for (const [name, image] of waiting)
      if (this.#gone.has(image) && !this.#waiting.has(name)) this.#waiting.set(name, image);
    this.#put = new Set([...store.images().keys()].filter((image) => !this.images.has(image)));
    return isNew;
  }

  #take(outcome: Outcome, store: DataRoot): void {
    this.names = store.names();
    this.#again.clear();
    this.#users = outcome.users;
    this.#left = outcome.left;
    this.#waiting = outcome.waiting;
    this.#removals = outcome.removals;
    for (const [name, [disks]] of outcome.either) {
      const found = this.names.get(name);
      if (found !== undefined && found === disks) {
        // A removal that a killed run has hidden: the disk has given the name once more.
        this.#left.set(name, found);
        this.#removals.delete(name);
        continue;
      }
      if (found !== outcome.left.get(name)) this.#left.delete(name);
      if (found !== undefined && found !== outcome.left.get(name)) this.#users.add(name);
    }
    this.#put = new Set([...store.images().keys()].filter((image) => !this.images.has(image)));
  }
}

function keep(out: Outcome, name: string, image: string): void {
  out.names.set(name, image);
  out.users.add(name);
}

function give(out: Outcome, name: string, image: string, waiting: string | undefined): void {
  out.names.set(name, image);
  out.left.set(name, image);
  if (waiting !== undefined) out.waiting.set(name, waiting);
}

/**
 * What the disks claim together: of two that claim a name, the later has it. An image of which a layer is nowhere
 * claims nothing.
 */
function claimsOf(
  disks: readonly AttachedDisk[],
  store: DataRoot,
): { readonly claims: ReadonlyMap<string, string>; readonly incomplete: LifeImage[] } {
  const layers = store.layers();
  const offered = new Set(disks.flatMap(({ disk }) => [...disk.layers]));
  const isWhole = ({ chains }: LifeImage): boolean =>
    chains.every((chain) => offered.has(chain) || (layers.has(chain) && layers.get(chain)?.linkTo === undefined));
  const all = disks.flatMap(({ disk }) => disk.images);
  return {
    claims: new Map(
      all.filter(([image]) => isWhole(image)).flatMap(([{ id }, names]) => names.map((name) => [name, id] as const)),
    ),
    incomplete: all.map(([image]) => image).filter((image) => !isWhole(image)),
  };
}

function isSame(left: ReadonlyMap<string, string>, right: ReadonlyMap<string, string>): boolean {
  return JSON.stringify(sorted(left)) === JSON.stringify(sorted(right));
}

export function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].toSorted(([left], [right]) => (left < right ? -1 : 1));
}
