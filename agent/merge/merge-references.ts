import type { Config } from '../config/config.ts';
import type { ImageID } from '../docker/ids.ts';
import type { References } from '../docker/reference-store.ts';
import type { Finding } from '../messages/finding.ts';
import type { DiskReference } from './offer.ts';

/** What we left in a store last time, as far as names go. */
export interface LeftReferences {
  readonly references: References;
  /** What a run that was killed would have left at its end. */
  readonly next: { readonly references: References } | undefined;
  /** Names that the user has removed, with the images that they named. */
  readonly removed: References;
  /** Names that disks have taken from the user's images, with those images. They get their names back. */
  readonly displaced: References;
}

export interface ReferenceMergeInput {
  /** The store's names now. */
  readonly store: References;
  readonly ledger: LeftReferences;
  readonly disks: ReadonlyMap<string, DiskReference>;
  readonly config: Pick<Config, 'conflicts' | 'removedImages'>;
  /**
   * Whether no ledger tells which names we have put there. Then each name that a disk has, too, counts as ours if
   * its image does.
   */
  readonly ledgerLost: boolean;
  /**
   * Images that dockerd has not written since we named them. A user who loads or pulls an image wants to have it, under
   * whatever name, and whether or not it was ours before.
   */
  readonly untouched: ReadonlySet<ImageID>;
  /** Images that the store has. */
  readonly images: ReadonlySet<ImageID>;
}

export interface ReferenceMerge {
  /** What to change in the store. Undefined means removal. */
  readonly changes: ReadonlyMap<string, ImageID | undefined>;
  /** References that are ours afterwards. */
  readonly own: References;
  /** References that are as we left them and yet the user's, because he has loaded or pulled the image since. */
  readonly reclaimed: ReadonlySet<string>;
  readonly removed: References;
  readonly displaced: References;
  readonly findings: readonly Finding[];
}

/** What becomes of one name. An empty one means that it stays as it is and is not ours. */
interface Outcome {
  readonly change?: ImageID | 'removal';
  readonly own?: ImageID;
  readonly removed?: ImageID;
  readonly displaced?: ImageID;
  readonly finding?: Finding;
}

/**
 * The three-way merge of references. The ledger says what we left, the store says what is there now, and the disks say
 * what should be there. What the user changed stays the user's.
 */
export function mergeReferences(input: ReferenceMergeInput): ReferenceMerge {
  const { store, ledger, disks } = input;
  const names = new Set([
    ...disks.keys(),
    ...ledger.references.keys(),
    ...(ledger.next?.references.keys() ?? []),
    ...ledger.displaced.keys(),
  ]);
  const settled = [...names].toSorted().map((name) => [name, settle(name, input)] as const);
  const those = (of: 'own' | 'removed' | 'displaced'): [string, ImageID][] =>
    settled.flatMap(([name, { [of]: image }]) => (image === undefined ? [] : [[name, image]]));
  const changes = new Map(
    settled.flatMap(([name, { change }]) =>
      change === undefined ? [] : [[name, change === 'removal' ? undefined : change] as const],
    ),
  );
  return {
    changes,
    own: new Map(those('own')),
    reclaimed: new Set(
      [...names].filter((name) => {
        const now = store.get(name);
        return now !== undefined && now === ledger.references.get(name) && !isAsLeft(name, now, input);
      }),
    ),
    removed: new Map([...those('removed'), ...removedBefore(input, changes)]),
    displaced: new Map(those('displaced')),
    findings: settled.flatMap(([, { finding }]) => finding ?? []),
  };
}

function settle(name: string, input: ReferenceMergeInput): Outcome {
  const now = input.store.get(name);
  const theirs = input.disks.get(name);
  if (now === undefined) return theirs === undefined ? settleGone(name, input) : settleMissing(name, theirs, input);
  // A name that has the disk's image is ours or the user's. The user keeps his when the disk goes, or has another
  // image.
  if (isAsLeft(name, now, input)) return settleAsLeft(name, now, theirs, input);
  return theirs === undefined || theirs.image === now
    ? settleUsers(name, now, input)
    : settleConflict(name, now, theirs, input);
}

/**
 * Whether the name is as we left it. It is not enough to know whose the image is: one image can have both names of the
 * user's and names of ours.
 */
function isAsLeft(name: string, now: ImageID, { ledger, ledgerLost, untouched }: ReferenceMergeInput): boolean {
  return (ledgerLost || ledger.references.get(name) === now) && untouched.has(now);
}

/** A name that is neither in the store nor on a disk. */
function settleGone(name: string, input: ReferenceMergeInput): Outcome {
  const waiting = waitingFor(name, input);
  if (waiting !== undefined) return { change: waiting };
  // Its disk may come back, so the removal is remembered.
  const before = input.ledger.references.get(name);
  return input.config.removedImages === 'respect' && before !== undefined ? { removed: before } : {};
}

/** A name that is on a disk and not in the store: it is new on the disk, or the user has removed it. */
function settleMissing(name: string, theirs: DiskReference, input: ReferenceMergeInput): Outcome {
  const { ledger, config } = input;
  // What the user removed was the disk's image. His own goes on waiting for its name.
  const displaced = keepWaiting(name, input);
  const removed = ledger.removed.get(name) ?? ledger.references.get(name);
  if (config.removedImages !== 'respect' || removed !== theirs.image) return { ...displaced, ...take(theirs) };
  const finding: Finding = {
    code: 'TAG_REMOVED',
    label: theirs.label,
    image: name,
    message: `${name}: stays removed, as the user left it; disk ${theirs.label} has it`,
  };
  return { ...displaced, removed, finding };
}

/** A name that is as we left it follows the disks. */
function settleAsLeft(
  name: string,
  now: ImageID,
  theirs: DiskReference | undefined,
  input: ReferenceMergeInput,
): Outcome {
  if (theirs === undefined) return { change: waitingFor(name, input) ?? 'removal' };
  return { ...(theirs.image === now ? { own: now } : take(theirs)), ...keepWaiting(name, input) };
}

/**
 * A name that is the user's. If he has loaded the very image to which a disk had given his tag, his older image no
 * longer waits for the tag.
 */
function settleUsers(name: string, now: ImageID, input: ReferenceMergeInput): Outcome {
  const before = waitingFor(name, input);
  if (before === undefined || input.ledger.references.get(name) !== now) return {};
  const message =
    `${name}: the disk's image was loaded again, so the user has it; ` +
    `to have his former image under this name, run: docker tag ${before.slice(0, 'sha256:'.length + 12)} ${name}`;
  return { finding: { code: 'TAG_CONFLICT', image: name, message } };
}

function settleConflict(name: string, now: ImageID, theirs: DiskReference, input: ReferenceMergeInput): Outcome {
  const { conflicts } = input.config;
  const byDisk = conflicts === 'disk';
  const winner = byDisk ? `disk ${theirs.label} takes it` : 'the user keeps it';
  const finding: Finding = {
    code: 'TAG_CONFLICT',
    label: theirs.label,
    image: name,
    message: `${name}: claimed by the user and by disk ${theirs.label}; ${winner} (\`conflicts\`: ${conflicts})`,
    conflict: { disks: [theirs.label], user: true, winner: byDisk ? theirs.label : null },
  };
  return byDisk ? { ...take(theirs), displaced: now, finding } : { finding };
}

const take = ({ image }: DiskReference): Outcome => ({ change: image, own: image });

/** The user's image that waits for a name, unless he has removed it meanwhile. */
function waitingFor(name: string, { ledger, images }: ReferenceMergeInput): ImageID | undefined {
  const before = ledger.displaced.get(name);
  return before !== undefined && images.has(before) ? before : undefined;
}

function keepWaiting(name: string, input: ReferenceMergeInput): Outcome {
  const displaced = waitingFor(name, input);
  return displaced === undefined ? {} : { displaced };
}

/** Names that the user removed earlier, whose disk is not attached now. */
function removedBefore(
  { config, disks, ledger, store }: ReferenceMergeInput,
  changes: ReferenceMerge['changes'],
): [string, ImageID][] {
  if (config.removedImages !== 'respect') return [];
  return [...ledger.removed].filter(
    ([name]) => !disks.has(name) && !store.has(name) && changes.get(name) === undefined,
  );
}
