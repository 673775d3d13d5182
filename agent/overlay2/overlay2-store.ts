import { existsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import type { DaemonConfig } from '../docker/daemon-config.ts';
import type { DiskContent } from '../disk/read-disk.ts';
import { isDockerRunning, lastStarted } from '../docker/instance.ts';
import type { RankedDisk } from '../merge/offer.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf } from '../system/errors.ts';
import { apply } from './apply/apply-steps.ts';
import { checkResult } from './check-result.ts';
import { clearUnwritten, hasLedger, ledgerFolder, readLedger, type Ledger, type LedgerState } from './store/ledger.ts';
import type { PinnedOptions } from './plan/check-pinned.ts';
import { plan, type Plan } from './plan/make-plan.ts';
import { planWithRoom } from './plan/plan-with-room.ts';
import { clearTrial, overlayProblem, unsupportedStore } from './store-choice.ts';
import { takeLock } from './store-lock.ts';
import { Store } from './store/store.ts';

/** dockerd's store on overlay2 in a data root, through the interface in boot/image-store.ts. */
export function overlay2Store(dataRoot: string) {
  return {
    unsupported: (config: DaemonConfig, isBoth: boolean) =>
      unsupportedStore(
        dataRoot,
        config,
        async () => (await import('../docker/dockerd-version.ts')).installedVersion(),
        isBoth,
      ),
    isDaemonRunning: () => isDockerRunning(dataRoot),
    hasOurs: () => hasLedger(dataRoot),
    hasLostLedger: () => readLedger(dataRoot).state !== 'read' && new Store(dataRoot).layers.inOurFolders().length > 0,
    isKnown: () => existsSync(ledgerFolder(dataRoot)),
    lock: () => takeLock(dataRoot),
    clearUp: () => {
      clearTrial(dataRoot);
      clearUnwritten(dataRoot);
    },
    readLedger: () => withPlans(dataRoot, readLedger(dataRoot)),
    sync: async () => (await import('./sync-store.ts')).syncStore(dataRoot),
  };
}

function withPlans(dataRoot: string, ledger: LedgerState) {
  return {
    findings: ledgerFindings(ledger),
    namesOf: (label: string) => namesOf(label, ledger.ledger),
    plan: async (disks: readonly RankedDisk[], config: Config) => {
      const started = lastStarted(dataRoot);
      const { store, planned } = await planWithRoom(dataRoot, { ledger, disks, config });
      return withActions(planned, { store, started, ledger: ledger.ledger });
    },
    planRemoval: (config: Config) => {
      const started = lastStarted(dataRoot);
      const store = new Store(dataRoot);
      return withActions(plan({ store, ledger, disks: [], config, forget: true }), {
        store,
        started,
        ledger: ledger.ledger,
      });
    },
  };
}

interface PlannedFor {
  /** The store as it was read for the plan. */
  readonly store: Store;
  readonly ledger: Ledger;
  /** When dockerd was last started, asked before the store was read. */
  readonly started: number | undefined;
}

function withActions(planned: Plan, { store, ledger, started }: PlannedFor) {
  const { dataRoot } = store;
  const { steps } = planned;
  return {
    plan: planned,
    before: { images: store.images, references: store.referenceStore.references },
    removed: async (had: ReadonlySet<string>) =>
      (await import('./plan/removed-images.ts')).removedImages(planned, store, ledger, had),
    checkPinned: async (disks: readonly DiskContent[], options: PinnedOptions) =>
      (await import('./plan/check-pinned.ts')).checkPinned(disks, steps, options),
    problem: () => (steps.length > 0 ? overlayProblem(dataRoot) : undefined),
    apply: () => apply(dataRoot, steps, started),
    check: () => checkResult(steps.length === 0 ? store : new Store(dataRoot), planned),
  };
}

function ledgerFindings(ledger: LedgerState): Finding[] {
  if (ledger.state !== 'invalid') return [];
  return [
    {
      code: 'LEDGER_INVALID',
      message: `the ledger is made anew from the store and the disks: ${messageOf(ledger.cause)}`,
    },
  ];
}

function namesOf(label: string, { references, images }: Ledger): string[] {
  return [...references]
    .filter(([, id]) => images.get(id) === label)
    .map(([reference]) => reference)
    .toSorted();
}
