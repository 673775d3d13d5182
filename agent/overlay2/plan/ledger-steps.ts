import type { ImageID } from '../../docker/ids.ts';
import type { ReferenceMerge } from '../../merge/merge-references.ts';
import { isSameLedger, mayBeThere, type Ledger, type LedgerContent, type LedgerState } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import type { Step } from './steps.ts';
import type { Whose } from './whose.ts';

export interface LedgerInput {
  readonly store: Store;
  /** The ledger as it was found. */
  readonly found: LedgerState;
  /** The ledger with its references settled. */
  readonly ledger: Ledger;
  readonly whose: Whose;
  readonly merge: ReferenceMerge;
  /** Our layers and images that will be in the store. */
  readonly content: LedgerContent;
  /** Our files in distribution/ that will be there. */
  readonly distribution: ReadonlySet<string>;
  /** All other steps. */
  readonly steps: readonly Step[];
  /** Whether nothing is to be remembered, because the program goes. */
  readonly forget: boolean;
}

/**
 * Puts the other steps between two of the ledger, which say first what is about to change, and in the end what is
 * there.
 */
export function withLedger(input: LedgerInput): Step[] {
  const { steps, found } = input;
  const final = ledgerAfter(input);
  if (steps.length === 0 && found.state !== 'invalid') {
    if (isSameLedger({ ...final, synced: found.ledger.synced }, found.ledger)) return [];
    if (found.state === 'none' && isEmpty(final)) return [];
  }
  const names = steps.find((step) => step.do === 'write-references')?.text;
  const before: Step[] =
    steps.length === 0 ? [] : [{ do: 'write-ledger', final: false, ledger: ledgerDuring(input, final), names }];
  const after: Step =
    isEmpty(final) && final.removed.size === 0
      ? { do: 'remove-ledger' }
      : { do: 'write-ledger', final: true, ledger: final };
  return [...before, ...steps, after];
}

function ledgerAfter({ store, whose, merge, content, distribution, steps, forget }: LedgerInput): Ledger {
  const isMended = (id: ImageID): boolean =>
    steps.some(
      (step) => step.do === 'store-image' && step.id === id && store.readImage(id)?.equals(step.config) !== true,
    );
  const lent = [...merge.own.values()].filter((id) => !whose.ownImages.has(id));
  return {
    ...content,
    synced: false,
    next: undefined,
    removed: forget ? new Map() : merge.removed,
    displaced: merge.displaced,
    // A configuration that is mended gets our mark again.
    restored: new Map([...whose.restored].filter(([id]) => content.images.has(id) && !isMended(id))),
    restoring: undefined,
    lent: new Map(
      lent.flatMap((id) => {
        const time = store.imageTime(id);
        return time === undefined ? [] : [[id, time] as const];
      }),
    ),
    distribution,
  };
}

/**
 * The ledger during the run. If this run and the next one are killed, nothing that the old or the new ledger has is
 * forgotten.
 */
function ledgerDuring({ ledger, whose, merge }: LedgerInput, final: Ledger): Ledger {
  const { references, images, layers } = final;
  return {
    // `lent` already has the new times, by which images that the user has loaded again would look untouched to the next
    // run.
    references: new Map([...ledger.references].filter(([name]) => !merge.reclaimed.has(name))),
    ...mayBeThere(ledger),
    synced: false,
    next: { references, images, layers },
    removed: new Map([...ledger.removed, ...final.removed]),
    displaced: new Map([...ledger.displaced, ...final.displaced]),
    lent: new Map([...ledger.lent, ...final.lent]),
    restored: whose.restored,
    restoring: undefined,
    distribution: new Set([...ledger.distribution, ...final.distribution]),
  };
}

function isEmpty({ references, images, layers }: LedgerContent): boolean {
  return references.size === 0 && images.size === 0 && layers.size === 0;
}
