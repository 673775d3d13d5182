import type { Config } from '../config/config.ts';
import { DiskFault } from '../disk/disk-fault.ts';
import { DockerStarted } from '../docker/instance.ts';
import type { ImageID } from '../docker/ids.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { listNames, plural } from '../text/plural.ts';
import type { ImageStore, StoreContent, StoreLedger, StorePlan } from './image-store.ts';
import { leaveOut } from './load-disk.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import type { Phase } from './timings.ts';

export interface FillInput {
  readonly store: ImageStore;
  readonly dataRoot: string;
  readonly config: Config;
  /** Whether the store, and what is mounted already, may be changed. */
  readonly mayChange: boolean;
  /** What an earlier look found: disks, and images that dockerd had. */
  readonly before: { readonly disks: readonly LoadedDisk[]; readonly images: ReadonlySet<string> };
  /** Called at the beginning of each phase. */
  readonly begin: (phase: Phase, status: string) => void;
}

/** What became of a store. */
export interface Filled {
  /** The disks in use, without those that proved bad only when something was copied from them. */
  readonly disks: readonly LoadedDisk[];
  /** Undefined where the store could not be looked at. */
  readonly plan: StorePlan['plan'] | undefined;
  /** What the store had before the plan's steps; undefined where there is no plan. */
  readonly store?: StoreContent | undefined;
  /** Images that dockerd had and has lost since, and that are back after its next start. */
  readonly removed?: ReadonlySet<ImageID> | undefined;
  /** Whether the plan's steps were carried out. */
  readonly applied: boolean;
  readonly isDockerRunning: boolean;
  /** The findings from before, followed by those about the store. */
  readonly findings: readonly Finding[];
}

/**
 * Makes a plan for the store, and carries it out if the store may be changed. If a disk proves bad only when something
 * is copied from it, or if dockerd is started meanwhile, it makes a new plan and tries again. What goes wrong in the
 * end is the last finding.
 */
export async function fillStore(found: Filled, input: FillInput): Promise<Filled> {
  const { store, mayChange, begin } = input;
  let filled = found;
  begin('plan', 'planning');
  try {
    // A host that never had a disk gets no folder of ours.
    const lock = mayChange && (found.disks.length > 0 || store.isKnown()) ? await store.lock() : undefined;
    try {
      if (lock !== undefined) store.clearUp();
      // Waiting for devices and the lock takes time in which somebody may have started it.
      filled = { ...filled, isDockerRunning: store.isDaemonRunning() };
      let ledger = store.readLedger();
      const findings = filled.findings.map((finding) => withNames(finding, ledger));
      filled = { ...filled, findings: [...findings, ...ledger.findings] };
      for (;;) {
        const attempt = await fillOnce(filled, ledger, input);
        if (attempt.error === undefined) return attempt.filled;
        if (!isToRepeat(attempt.error)) return withFindings(attempt.filled, failureOf(attempt.error));
        filled = { ...attempt.filled, findings: filled.findings };
        filled = beforeRepeat(filled, attempt.error, input);
        ledger = store.readLedger();
      }
    } finally {
      lock?.release();
    }
  } catch (error) {
    return withFindings(filled, failureOf(error));
  }
}

/** The finding for what has made a run fail. */
export function failureOf(error: unknown): Finding {
  return { code: error instanceof PreloaderError ? error.code : 'INTERNAL', message: messageOf(error) };
}

const withFindings = (filled: Filled, ...more: readonly Finding[]): Filled => ({
  ...filled,
  findings: [...filled.findings, ...more],
});

/** How far an attempt came, and what went wrong, if anything did. */
interface Attempt {
  readonly filled: Filled;
  readonly error?: unknown;
}

async function fillOnce(known: Filled, ledger: StoreLedger, input: FillInput): Promise<Attempt> {
  const { dataRoot, config, mayChange, before, begin } = input;
  let filled = known;
  try {
    const ranked = known.disks.map(({ content, mounted }) => ({ content, rank: mounted.rank }));
    const planned = await ledger.plan(ranked, config);
    const { plan } = planned;
    filled = withFindings({ ...filled, plan, store: planned.before }, ...plan.findings);
    if (known.isDockerRunning && plan.steps.length > 0) filled = withFindings(filled, pendingFinding(plan));
    const willChange = mayChange && !known.isDockerRunning;
    await checkPinned(known.disks, planned, willChange, input);
    if (!willChange) {
      const removed = await planned.removed(before.images);
      return { filled: withFindings({ ...filled, removed: removed.images }, ...removed.findings) };
    }
    const problem = planned.problem();
    if (problem !== undefined) throw leftAlone(dataRoot, problem);

    begin('apply', `applying ${plural(plan.steps.length, 'change')}`);
    carryOut(planned, dataRoot);
    filled = { ...filled, applied: true };

    begin('check', 'checking the result');
    return { filled: withFindings(filled, ...planned.check()) };
  } catch (error) {
    return { filled, error };
  }
}

async function checkPinned(
  disks: readonly LoadedDisk[],
  planned: StorePlan,
  willChange: boolean,
  { before }: FillInput,
): Promise<void> {
  const pinned = disks.filter(({ content }) => content.pinned);
  if (pinned.length === 0) return;
  await planned.checkPinned(
    pinned.filter(({ mounted }) => mounted.isUnlinked !== true).map(({ content }) => content),
    { willChange, compared: new Set(before.disks.map(({ content }) => content)) },
  );
}

function carryOut(planned: StorePlan, dataRoot: string): void {
  try {
    planned.apply();
  } catch (error) {
    if (isToRepeat(error)) throw error;
    throw new PreloaderError(
      'STORE_WRITE',
      `${dataRoot}: ${messageOf(error)}: what was there before is still there, the rest is tried again at the next start`,
      { cause: error },
    );
  }
}

const isToRepeat = (error: unknown): error is DiskFault | DockerStarted =>
  error instanceof DiskFault || error instanceof DockerStarted;

/**
 * What is known for the next attempt: without the disk that proved bad, or with a dockerd that runs.
 * @throws DiskFault if it is about a disk that is no longer in use
 */
function beforeRepeat(filled: Filled, cause: DiskFault | DockerStarted, input: FillInput): Filled {
  const { store, config, mayChange, begin } = input;
  if (cause instanceof DockerStarted) {
    begin('plan', 'planning anew: dockerd was started meanwhile');
    return { ...filled, isDockerRunning: store.isDaemonRunning() };
  }
  const { label } = cause;
  const faulty = filled.disks.find((disk) => disk.content.label === label);
  if (faulty === undefined) throw cause;
  const finding = leaveOut(faulty.mounted, cause, { ...config, mayUnmount: mayChange });
  begin('plan', `planning without disk ${label}`);
  return withFindings({ ...filled, disks: filled.disks.filter((disk) => disk !== faulty) }, finding);
}

export function leftAlone(dataRoot: string, why: string): PreloaderError {
  return new PreloaderError('STORE_UNSUPPORTED', `${dataRoot} is left alone: ${why}`);
}

/** Adds the names of the images on a lost disk. The disk cannot be read any more, but the ledger has them. */
function withNames(finding: Finding, ledger: StoreLedger): Finding {
  if (finding.code !== 'DISK_LOST' || finding.label === undefined) return finding;
  const names = ledger.namesOf(finding.label);
  return names.length === 0 ? finding : { ...finding, message: `${finding.message}; on it stand ${listNames(names)}` };
}

function pendingFinding({ steps }: StorePlan['plan']): Finding {
  return {
    code: 'DOCKER_RUNNING',
    message: `dockerd is running: ${plural(steps.length, 'change')} ${steps.length === 1 ? 'waits' : 'wait'} for its next start; run: systemctl restart docker`,
  };
}
