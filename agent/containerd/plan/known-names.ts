import type { ImageID } from '../../docker/ids.ts';
import type { References } from '../../docker/reference-store.ts';
import type { LeftReferences } from '../../merge/merge-references.ts';
import { isEmptyNamespaceLedger, leftReferences, type NamespaceLedger } from '../containerd-ledger.ts';
import type { ImageRecord } from '../api/services.ts';
import type { Present } from '../namespace-present.ts';
import { displacedNameOf, hasMark } from '../own-labels.ts';
import { madeAt, ownRecords, targetOf } from '../own-records.ts';
import { KUBERNETES } from '../record-names.ts';

/** The names of a namespace before anything is done, and which of them are ours. */
export interface KnownNames {
  /** What each name leads to. */
  readonly now: References;
  /** Records that are ours, by name. */
  readonly ours: ReadonlyMap<string, ImageRecord>;
  /** What these lead to. */
  readonly untouched: ReadonlySet<ImageID>;
  /** What we left there. What a killed run has left is settled. */
  readonly left: LeftReferences;
  /** When what is ours was made, for the ledger. */
  readonly made: ReadonlyMap<string, string>;
}

/** Tells which names are ours. */
export function knownNames(present: Present, ledger: NamespaceLedger): KnownNames {
  const now = new Map([...present.images].map(([name, record]) => [name, targetOf(record)] as const));
  const settled = leftReferences(
    isEmptyNamespaceLedger(ledger) ? { ...ledger, displaced: displacedIn(present) } : ledger,
    now,
  );
  const ours = ownRecords(present, settled.references, ledger.made);
  const records = [...ours.values()];
  const untouched = new Set(records.map(targetOf));
  // What is marked as ours we have left there, whatever the ledger says. What it says of another record was so once.
  const references = new Map([
    ...[...settled.references].filter(([name]) => !untouched.has(now.get(name) ?? ('' as ImageID))),
    ...records.map((record) => [record.name, targetOf(record)] as const),
  ]);
  return { now, ours, untouched, left: { ...settled, references }, made: madeOf(present, ledger, ours) };
}

/**
 * When what is ours was made. While the user has a copy of our labels, the time is also kept for names that are the
 * user's now, or nobody's, because the user may give such a copy to them.
 */
function madeOf(
  { namespace, images }: Present,
  { made }: NamespaceLedger,
  ours: KnownNames['ours'],
): ReadonlyMap<string, string> {
  if (namespace === KUBERNETES) return new Map();
  const hasCopies = [...images.values()].some((record) => !ours.has(record.name) && hasMark(record));
  return new Map([
    ...(hasCopies ? made : []),
    ...[...ours.values()].map((record) => [record.name, madeAt(record)] as const),
  ]);
}

/** Which image waits for which name, by the records that keep such images. If the ledger is lost, only they tell. */
function displacedIn({ namespace, images }: Present): Map<string, ImageID> {
  return new Map(
    [...images.values()].flatMap((record) => {
      const name = displacedNameOf(namespace, record);
      return name === undefined ? [] : [[name, targetOf(record)] as const];
    }),
  );
}
