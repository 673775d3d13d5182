import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { refuseNewerMajor } from '../../disk/manifest.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { References } from '../../docker/reference-store.ts';
import type { LeftReferences } from '../../merge/merge-references.ts';
import { PreloaderError } from '../../system/errors.ts';
import { isDirectory, readTextIfThere } from '../../system/read-files.ts';
import { ensureFolder, removeIfThere, replaceFile, tempPathOf } from '../../system/write-files.ts';
import {
  checkShape,
  flag,
  listOf,
  number,
  objectOf,
  optional,
  recordOf,
  sha256Digest as digest,
  text,
} from '../../text/shape.ts';
import { parseStrictly } from '../../text/strict-json.ts';

/**
 * major.minor. Since 2.0, `references` has no names of the user's on images that he has lent, and a store may have
 * pins. An older program would take such names for ours, and pins for containers. The major version makes it leave such
 * a store alone.
 */
export const LEDGER_VERSION = '2.0';

interface ContentDocument {
  /** The image of each of our references, as we left them in repositories.json. */
  readonly references: Readonly<Record<string, string>>;
  /** The label of each image's disk. */
  readonly images: Readonly<Record<string, string>>;
  /** The label of each layer's disk. */
  readonly layers: Readonly<Record<string, string>>;
}

interface LedgerDocument extends ContentDocument {
  readonly formatVersion: string;
  /** Whether everything that we wrote has reached the disk. Until then, contents are compared and not only sizes. */
  readonly synced: boolean;
  /** While changes are under way: what will be there, beside what was there. */
  readonly next?: ContentDocument;
  /** Under `removedImages: respect`: names that the user removed, with their images. */
  readonly removed?: Readonly<Record<string, string>>;
  /** Under `conflicts: disk`: names that disks have taken, with the user's images that get them back. */
  readonly displaced?: Readonly<Record<string, string>>;
  /**
   * The user's images that have names of ours, with the time of modification of their configuration, in milliseconds.
   */
  readonly lent?: Readonly<Record<string, number>>;
  /** Images that we have had dockerd load after a prune, with that time. */
  readonly restored?: Readonly<Record<string, number>>;
  /** While dockerd is to load images: which, and since when, in milliseconds since 1970. */
  readonly restoring?: { readonly since: number; readonly images: readonly string[] };
  /** Files in distribution/ in which everything is ours. */
  readonly distribution?: readonly string[];
}

const content = { references: recordOf(digest), images: recordOf(text), layers: recordOf(text) };
const shape = objectOf({
  formatVersion: text,
  synced: flag,
  ...content,
  next: optional(objectOf(content)),
  removed: optional(recordOf(digest)),
  displaced: optional(recordOf(digest)),
  lent: optional(recordOf(number)),
  restored: optional(recordOf(number)),
  restoring: optional(objectOf({ since: number, images: listOf(digest) })),
  distribution: optional(listOf(text)),
});

/** Our references, images and layers that are in the store, or are about to be. */
export interface LedgerContent {
  readonly references: ReadonlyMap<string, ImageID>;
  readonly images: ReadonlyMap<ImageID, string>;
  readonly layers: ReadonlyMap<ChainID, string>;
}

/** Our record in the data root of what we last put into the store. */
export interface Ledger extends LedgerContent {
  readonly synced: boolean;
  readonly next: LedgerContent | undefined;
  readonly removed: ReadonlyMap<string, ImageID>;
  readonly displaced: ReadonlyMap<string, ImageID>;
  /** While the time is the same, dockerd has not loaded or pulled the image again. */
  readonly lent: ReadonlyMap<ImageID, number>;
  /** While the time is the same, nobody else has loaded or pulled the image. */
  readonly restored: ReadonlyMap<ImageID, number>;
  readonly restoring: { readonly sinceMs: number; readonly images: ReadonlySet<ImageID> } | undefined;
  readonly distribution: ReadonlySet<string>;
}

export const emptyLedger: Ledger = {
  synced: false,
  references: new Map(),
  images: new Map(),
  layers: new Map(),
  next: undefined,
  removed: new Map(),
  displaced: new Map(),
  lent: new Map(),
  restored: new Map(),
  restoring: undefined,
  distribution: new Set(),
};

/** Our own folder in the data root. */
export function ledgerFolder(dataRoot: string): string {
  return join(dataRoot, 'docker-preloader');
}

function ledgerPath(dataRoot: string): string {
  return join(ledgerFolder(dataRoot), 'ledger.json');
}

/**
 * The path of the repositories.json that a run is about to put in place. It is written before the ledger says what will
 * be there, and is moved from here. So if both are found after a kill, no name was given.
 */
export function preparedNames(dataRoot: string): string {
  return join(ledgerFolder(dataRoot), 'repositories.json');
}

/** Whether there is a ledger, so that something of ours may be in the store. */
export function hasLedger(dataRoot: string): boolean {
  return existsSync(ledgerPath(dataRoot));
}

export type LedgerState =
  | { readonly state: 'read' | 'none'; readonly ledger: Ledger }
  | { readonly state: 'invalid'; readonly ledger: Ledger; readonly cause: unknown };

/**
 * Reads the ledger. A lost or damaged one counts as empty, and the store itself tells which layers are ours.
 * @throws PreloaderError LEDGER_NEWER
 */
export function readLedger(dataRoot: string): LedgerState {
  const path = ledgerPath(dataRoot);
  try {
    const bytes = readTextIfThere(path);
    if (bytes === undefined) return { state: 'none', ledger: emptyLedger };
    const document: unknown = parseStrictly(bytes);
    refuseNewerMajor(document, path, LEDGER_VERSION);
    checkShape(document, shape);
    const {
      synced,
      next,
      removed = {},
      displaced = {},
      restored = {},
      restoring,
      distribution = [],
      ...present
    } = document as LedgerDocument;
    const ledger = {
      ...toContent(present),
      next: next === undefined ? undefined : toContent(next),
      displaced: toMap<string, ImageID>(displaced),
    };
    return {
      state: 'read',
      ledger: {
        ...(existsSync(preparedNames(dataRoot)) ? withoutNewNames(ledger) : ledger),
        synced,
        removed: toMap(removed),
        lent: lentIn(document as LedgerDocument),
        restored: new Map(Object.entries(restored) as [ImageID, number][]),
        restoring:
          restoring === undefined
            ? undefined
            : { sinceMs: restoring.since, images: new Set(restoring.images as readonly ImageID[]) },
        distribution: new Set(distribution),
      },
    };
  } catch (error) {
    if (error instanceof PreloaderError)
      throw new PreloaderError('LEDGER_NEWER', `${error.message}; the store is left as it is`, { cause: error });
    return { state: 'invalid', ledger: emptyLedger, cause: error };
  }
}

/**
 * The ledger of a run that was killed when its names were prepared and not yet put in place. The run has given no names
 * and taken none. A name that is there all the same was given by the user. A name that the user has removed since is
 * not given back.
 */
function withoutNewNames<Known extends Pick<Ledger, 'references' | 'next' | 'displaced'>>(ledger: Known): Known {
  const { references, next, displaced } = ledger;
  if (next === undefined) return ledger;
  const isTaken = (name: string): boolean => references.has(name) || !next.references.has(name);
  return {
    ...ledger,
    next: { ...next, references },
    displaced: new Map([...displaced].filter(([name]) => isTaken(name))),
  };
}

/**
 * Removes what a killed run was writing. Names that it has prepared stay as long as the ledger needs to know of them.
 * @throws system errors
 */
export function clearUnwritten(dataRoot: string): void {
  removeIfThere(tempPathOf(ledgerPath(dataRoot)));
  const prepared = preparedNames(dataRoot);
  if (existsSync(prepared) && !isUnderWay(dataRoot)) removeIfThere(prepared);
}

function isUnderWay(dataRoot: string): boolean {
  try {
    return readLedger(dataRoot).ledger.next !== undefined;
  } catch {
    return true;
  }
}

/**
 * Lent images. Format 1 counted every name of such an image as ours, and does not say which were the user's. So all are
 * his now.
 */
function lentIn({ formatVersion, lent = {} }: LedgerDocument): Map<ImageID, number> {
  return formatVersion.startsWith('1.') ? new Map() : new Map(Object.entries(lent) as [ImageID, number][]);
}

function toContent(document: ContentDocument): LedgerContent {
  return { references: toMap(document.references), images: toMap(document.images), layers: toMap(document.layers) };
}

function toMap<Key extends string, Value extends string>(record: Readonly<Record<string, string>>): Map<Key, Value> {
  return new Map(Object.entries(record) as [Key, Value][]);
}

/**
 * Replaces the ledger durably. With `content`, the old one may come back after a power cut. That is enough for a ledger
 * that only says that all is done, because the next run then asks the store how far this one came.
 * @param before what is to be done before the ledger is in place. Both are then waited for together, if both are
 * durable
 * @throws system errors, and what `before` throws
 */
export function writeLedger(
  dataRoot: string,
  ledger: Ledger,
  durable: true | 'content' = true,
  before?: () => void,
): void {
  ensureFolder(ledgerFolder(dataRoot), 0o700);
  clearFolder(ledgerPath(dataRoot));
  replaceFile(ledgerPath(dataRoot), serialiseLedger(ledger), { mode: 0o600, durable, before });
}

/** Removes the ledger, if there is one. @throws system errors */
export function removeLedger(dataRoot: string): void {
  clearFolder(ledgerPath(dataRoot));
  removeIfThere(ledgerPath(dataRoot));
}

/** Removes a folder in a ledger's place. A rename cannot replace it, and it would be in the way at each boot. */
export function clearFolder(path: string): void {
  if (isDirectory(path)) rmSync(path, { recursive: true });
}

export function serialiseLedger(ledger: Ledger): string {
  const plain = (content: LedgerContent): Record<string, unknown> => ({
    references: Object.fromEntries(content.references),
    images: Object.fromEntries(content.images),
    layers: Object.fromEntries(content.layers),
  });
  const document = {
    formatVersion: LEDGER_VERSION,
    synced: ledger.synced,
    ...plain(ledger),
    ...(ledger.next === undefined ? {} : { next: plain(ledger.next) }),
    removed: Object.fromEntries(ledger.removed),
    displaced: Object.fromEntries(ledger.displaced),
    lent: Object.fromEntries(ledger.lent),
    restored: Object.fromEntries(ledger.restored),
    ...(ledger.restoring === undefined
      ? {}
      : { restoring: { since: ledger.restoring.sinceMs, images: [...ledger.restoring.images].toSorted() } }),
    distribution: [...ledger.distribution].toSorted(),
  };
  return `${JSON.stringify(document)}\n`;
}

/**
 * The ledger with its references as a killed run has left them, which is between the old and the new ones. The store
 * tells how far the run came. A reference that it was to remove, or had not yet added, does not count as removed by the
 * user.
 */
export function settleReferences<Left extends LeftReferences>(ledger: Left, store: References): Left {
  const { references: old, next } = ledger;
  if (next === undefined) return ledger;
  const references = new Map<string, ImageID>();
  for (const name of new Set([...old.keys(), ...next.references.keys()])) {
    const [before, after, now] = [old.get(name), next.references.get(name), store.get(name)];
    if (now !== undefined && (now === before || now === after)) references.set(name, now);
    else if (now === undefined && before !== undefined && after !== undefined) references.set(name, before);
  }
  return { ...ledger, references };
}

/** What of ours may be in the store. A killed run may have left what was there before, and what it was to add. */
export function mayBeThere({ images, layers, next }: Ledger): Pick<LedgerContent, 'images' | 'layers'> {
  return {
    images: new Map([...(next?.images ?? []), ...images]),
    layers: new Map([...(next?.layers ?? []), ...layers]),
  };
}

/** Whether two ledgers say the same. */
export function isSameLedger(left: Ledger, right: Ledger): boolean {
  return serialiseLedger(sorted(left)) === serialiseLedger(sorted(right));
}

function sorted(ledger: Ledger): Ledger {
  const sort = <Key extends string, Value>(map: ReadonlyMap<Key, Value>): Map<Key, Value> =>
    new Map([...map].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  const sortContent = (content: LedgerContent): LedgerContent => ({
    references: sort(content.references),
    images: sort(content.images),
    layers: sort(content.layers),
  });
  return {
    ...ledger,
    ...sortContent(ledger),
    next: ledger.next === undefined ? undefined : sortContent(ledger.next),
    removed: sort(ledger.removed),
    displaced: sort(ledger.displaced),
    lent: sort(ledger.lent),
    restored: sort(ledger.restored),
  };
}
