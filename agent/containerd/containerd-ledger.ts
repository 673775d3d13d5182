import { join } from 'node:path';
import { clearFolder, ledgerFolder, settleReferences } from '../overlay2/store/ledger.ts';
import { refuseNewerMajor } from '../disk/manifest.ts';
import type { ImageID } from '../docker/ids.ts';
import type { LeftReferences } from '../merge/merge-references.ts';
import { PreloaderError } from '../system/errors.ts';
import { namesIn, readTextIfThere } from '../system/read-files.ts';
import { ensureFolder, removeIfThere, replaceFile } from '../system/write-files.ts';
import { checkShape, objectOf, optional, recordOf, sha256Digest, text } from '../text/shape.ts';
import { parseStrictly } from '../text/strict-json.ts';

/** major.minor of the file. */
const VERSION = '1.0';

/** Image names to what they named. */
export type Targets = ReadonlyMap<string, ImageID>;

/** What we left in a namespace, and what the user has removed of it. A record's labels say whether it is ours. */
export interface NamespaceLedger {
  readonly references: Targets;
  /** While changes are under way: what will be there, beside what was there. */
  readonly next: Targets | undefined;
  /** Names that the user removed, under `removedImages: respect`. */
  readonly removed: Targets;
  /** The user's image under a name that a disk has taken, under `conflicts: disk`. */
  readonly displaced: Targets;
  /**
   * When we made the records of names, except of those that are about to change. A newer record is the user's, whatever
   * its labels say.
   */
  readonly made: ReadonlyMap<string, string>;
}

/** Our record of what we left in a containerd, by namespace. */
export type ContainerdLedger = ReadonlyMap<string, NamespaceLedger>;

export const emptyNamespaceLedger: NamespaceLedger = {
  references: new Map(),
  next: undefined,
  removed: new Map(),
  displaced: new Map(),
  made: new Map(),
};

export interface ContainerdLedgerState {
  readonly state: 'read' | 'none' | 'invalid';
  readonly ledger: ContainerdLedger;
  readonly cause?: unknown;
}

const digests = recordOf(sha256Digest);
const shape = objectOf({
  formatVersion: text,
  namespaces: recordOf(
    objectOf({
      references: digests,
      next: optional(digests),
      removed: digests,
      displaced: digests,
      made: optional(recordOf(text)),
    }),
  ),
});

interface LedgerDocument {
  readonly formatVersion: string;
  readonly namespaces: Readonly<
    Record<
      string,
      Readonly<Record<'references' | 'removed' | 'displaced', Record<string, ImageID>>> & {
        readonly next?: Record<string, ImageID>;
        readonly made?: Record<string, string>;
      }
    >
  >;
}

/**
 * There is a file for each containerd. One whose root was made anew counts as another one, from which nothing was
 * removed.
 */
function pathOf(dataRoot: string, uuid: string): string {
  return join(ledgerFolder(dataRoot), `containerd-${uuid}.json`);
}

/** Whether anything of ours may be in a containerd whose ledger is in this data root. */
export function hasContainerdLedger(dataRoot: string): boolean {
  return namesIn(ledgerFolder(dataRoot)).some((name) => /^containerd-.*\.json$/.test(name));
}

/** Reads the ledger of a containerd. A lost or damaged one counts as empty. @throws PreloaderError LEDGER_NEWER */
export function readContainerdLedger(dataRoot: string, uuid: string): ContainerdLedgerState {
  const path = pathOf(dataRoot, uuid);
  try {
    const bytes = readTextIfThere(path);
    if (bytes === undefined) return { state: 'none', ledger: new Map() };
    const document: unknown = parseStrictly(bytes);
    refuseNewerMajor(document, path, VERSION);
    checkShape(document, shape);
    const { namespaces } = document as LedgerDocument;
    return {
      state: 'read',
      ledger: new Map(
        Object.entries(namespaces).map(([name, { references, next, removed, displaced, made }]) => [
          name,
          {
            references: toMap(references),
            next: next === undefined ? undefined : toMap(next),
            removed: toMap(removed),
            displaced: toMap(displaced),
            made: new Map(Object.entries(made ?? {})),
          },
        ]),
      ),
    };
  } catch (error) {
    if (error instanceof PreloaderError)
      throw new PreloaderError('LEDGER_NEWER', `${error.message}; containerd's store is left as it is`, {
        cause: error,
      });
    return { state: 'invalid', ledger: new Map(), cause: error };
  }
}

/** Replaces the ledger durably, or removes it if there is nothing to note. @throws system errors */
export function writeContainerdLedger(dataRoot: string, uuid: string, ledger: ContainerdLedger): void {
  const path = pathOf(dataRoot, uuid);
  clearFolder(path);
  const noted = new Map([...ledger].filter(([, entry]) => !isEmptyNamespaceLedger(entry)));
  if (noted.size === 0) {
    removeIfThere(path);
    return;
  }
  ensureFolder(ledgerFolder(dataRoot), 0o700);
  replaceFile(path, serialise(noted), { mode: 0o600, durable: true });
}

/** Whether there is nothing to note, or the ledger was lost. */
export function isEmptyNamespaceLedger({ references, next, removed, displaced, made }: NamespaceLedger): boolean {
  return references.size + (next?.size ?? 0) + removed.size + displaced.size + made.size === 0;
}

function serialise(ledger: ContainerdLedger): string {
  const namespaces = [...ledger].map(([name, entry]) => [name, plain(entry)] as const);
  return `${JSON.stringify({ formatVersion: VERSION, namespaces: Object.fromEntries(namespaces) })}\n`;
}

function plain({ references, next, removed, displaced, made }: NamespaceLedger): Record<string, unknown> {
  return {
    references: toRecord(references),
    ...(next === undefined ? {} : { next: toRecord(next) }),
    removed: toRecord(removed),
    displaced: toRecord(displaced),
    made: toRecord(made),
  };
}

function toRecord(targets: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...targets].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function toMap(record: Readonly<Record<string, ImageID>>): Map<string, ImageID> {
  return new Map(Object.entries(record));
}

/** Whether two ledgers of a namespace say the same. */
export function isSameNamespaceLedger(left: NamespaceLedger, right: NamespaceLedger): boolean {
  return JSON.stringify(plain(left)) === JSON.stringify(plain(right));
}

/**
 * The ledger as the merge of names takes it, which is the same for both stores. The names that are there now tell how
 * far a killed run came.
 */
export function leftReferences({ next, ...left }: NamespaceLedger, now: Targets): LeftReferences {
  return settleReferences({ ...left, next: next === undefined ? undefined : { references: next } }, now);
}
