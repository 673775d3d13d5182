import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { refuseNewerMajor } from '../../disk/manifest.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import { PreloaderError } from '../../system/errors.ts';
import { ensureFolder, isDirectory, readTextIfThere, removeIfThere, replaceFile } from '../../system/files.ts';
import { checkShape, flag, listOf, matching, number, objectOf, optional, recordOf, text } from '../../text/shape.ts';

/**
 * major.minor. Since 2.0 `references` holds no name of the user's that stands on an image he has lent, and a store may have
 * pins. An older program would take such names for ours, and pins for containers, so it is to leave a store with this
 * ledger alone.
 */
export const LEDGER_VERSION = '2.0';

interface ContentDocument {
  /** Reference to image, as we left them in repositories.json. */
  readonly references: Readonly<Record<string, string>>;
  /** Image to the label of its disk. */
  readonly images: Readonly<Record<string, string>>;
  /** Layer to the label of its disk. */
  readonly layers: Readonly<Record<string, string>>;
}

interface LedgerDocument extends ContentDocument {
  readonly formatVersion: string;
  /** Whether all that was written has reached the disk; while not, contents are compared and not only sizes. */
  readonly synced: boolean;
  /** There while changes are under way: what will be, beside what was. */
  readonly next?: ContentDocument;
  /** Tags that the user removed, with the image they had, under `removedImages: respect`. */
  readonly removed?: Readonly<Record<string, string>>;
  /** The user's image under a tag that a disk has taken, under `conflicts: disk`: it gets the tag back. */
  readonly displaced?: Readonly<Record<string, string>>;
  /** The user's images that tags of ours name, with the time of modification of their configuration, in milliseconds. */
  readonly lent?: Readonly<Record<string, number>>;
  /** Images that we have had dockerd load after a prune, with the same time. */
  readonly restored?: Readonly<Record<string, number>>;
  /** While dockerd is to load some: since when, in milliseconds since 1970. */
  readonly restoring?: { readonly since: number; readonly images: readonly string[] };
  /** Files in distribution/ that we wrote whole. */
  readonly distribution?: readonly string[];
}

const digest = matching(/^sha256:[0-9a-f]{64}$/, 'a sha256 digest');
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

/** What of ours is in the store, or is about to be. */
export interface LedgerContent {
  readonly references: ReadonlyMap<string, ImageID>;
  readonly images: ReadonlyMap<ImageID, string>;
  readonly layers: ReadonlyMap<ChainID, string>;
}

/** Our record in the data root of what we put into the store last time. */
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

/** Whether anything of ours may be in the store. */
export function hasLedger(dataRoot: string): boolean {
  return existsSync(ledgerPath(dataRoot));
}

export type LedgerState =
  | { readonly state: 'read' | 'none'; readonly ledger: Ledger }
  | { readonly state: 'invalid'; readonly ledger: Ledger; readonly cause: unknown };

/**
 * Reads the ledger. One that is lost or damaged is taken as empty: the store itself tells which layers are ours.
 * @throws PreloaderError LEDGER_NEWER
 */
export function readLedger(dataRoot: string): LedgerState {
  const path = ledgerPath(dataRoot);
  try {
    const bytes = readTextIfThere(path);
    if (bytes === undefined) return { state: 'none', ledger: emptyLedger };
    const document: unknown = JSON.parse(bytes);
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
    return {
      state: 'read',
      ledger: {
        ...toContent(present),
        synced,
        next: next === undefined ? undefined : toContent(next),
        removed: toMap(removed),
        displaced: toMap(displaced),
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

/** Format 1 counted every name of a lent image as ours. Which of them were the user's it does not say: all are, now. */
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
 * Replaces the ledger, durably. Where it only says that all is done, the one before may come back after a power cut: the
 * next run then settles by the store what was under way. @throws system errors
 */
export function writeLedger(dataRoot: string, ledger: Ledger, durable: true | 'content' = true): void {
  ensureFolder(ledgerFolder(dataRoot), 0o700);
  clearFolder(ledgerPath(dataRoot));
  replaceFile(ledgerPath(dataRoot), serialiseLedger(ledger), { mode: 0o600, durable });
}

/** Removes the ledger, where there is one. @throws system errors */
export function removeLedger(dataRoot: string): void {
  clearFolder(ledgerPath(dataRoot));
  removeIfThere(ledgerPath(dataRoot));
}

/** A folder where the ledger belongs cannot be replaced by a rename, and would be in the way at each boot. */
function clearFolder(path: string): void {
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
 * The ledger with its references as they are after a run that was killed, between the old and the new ones: the store
 * tells how far it came. A reference that the run was to remove, or had yet to add, is not one that the user removed.
 */
export function settleReferences(ledger: Ledger, store: ReadonlyMap<string, ImageID>): Ledger {
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

/** What of ours may be in the store: a run that was killed may have left what was there before, or what it was to add. */
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
