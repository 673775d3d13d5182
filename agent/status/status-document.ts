import { wallTime } from '../system/clock.ts';
import { FORMAT_VERSION } from '../disk/manifest.ts';
import type { Finding } from '../messages/finding.ts';
import { LEDGER_VERSION } from '../overlay2/store/ledger.ts';
import type { Preload } from '../boot/preload.ts';
import { describeStep as describeNamespaceStep } from '../containerd/plan/describe-step.ts';
import { describeStep } from '../overlay2/plan/steps.ts';
import { VERSION } from '../version.ts';
import { diskStatuses } from './disk-status.ts';
import { imageStatuses } from './image-status.ts';
import type { PlanDocument, StatusDocument } from './schema.ts';
import { changesOf, isApplied } from './pending.ts';
import { stateOf, worseState } from './state.ts';
import { storeStatuses } from './store-status.ts';
import { runFailure, summarise, summaryLine } from './summary.ts';

/** The status after a run. @param readyUsec when the run ended, CLOCK_MONOTONIC in microseconds */
export function statusDocument(run: Preload, readyUsec: number): StatusDocument {
  const applied = isApplied(run);
  return {
    state: stateOf(run.findings, run.disks.length),
    summary: summarise(run, readyUsec),
    version: VERSION,
    formatVersion: FORMAT_VERSION,
    dataRoot: run.dataRoot ?? null,
    dockerRunning: run.isDockerRunning,
    applied,
    changes: applied ? changesOf(run) : 0,
    pending: runFailure(run) === undefined ? pendingSteps(run).map(({ text }) => text) : [],
    disks: diskStatuses(run),
    images: imageStatuses(run),
    stores: storeStatuses(run),
    findings: run.findings,
    timings: run.timings.entries.map((entry, index, entries) => ({
      ...entry,
      durationUsec: (entries[index + 1]?.startUsec ?? readyUsec) - entry.startUsec,
    })),
    readyUsec,
    phase: 'ready',
    phaseSince: wallTime(),
    phaseSinceUsec: readyUsec,
    conflicts: run.findings.flatMap(({ image, conflict, message }) =>
      image === undefined || conflict === undefined ? [] : [{ reference: image, ...conflict, message }],
    ),
    versions: { agent: VERSION, format: FORMAT_VERSION, ledger: LEDGER_VERSION, dockerd: null },
  };
}

/** What `run` would do to the store now. */
export function planDocument(run: Planned): PlanDocument {
  return { state: stateOf(run.findings, run.disks.length), steps: stepsOf(run), findings: run.findings };
}

type StepText = PlanDocument['steps'][number];
/** A run, as far as it has found out what there is to do. */
type Planned = Pick<Preload, 'findings' | 'disks' | 'plan' | 'containerd'>;

/** What there was to do in all stores. */
function stepsOf({ plan, containerd }: Planned): StepText[] {
  return [
    ...(plan?.steps ?? []).map((step) => ({ do: step.do, text: describeStep(step) })),
    ...(containerd?.plans ?? []).flatMap(({ namespace, steps }) =>
      steps.map((step) => ({ do: step.do, text: describeNamespaceStep(namespace, step) })),
    ),
  ];
}

/** Of these, what was not done. */
function pendingSteps(run: Preload): StepText[] {
  const { plan, applied, containerd } = run;
  return stepsOf({
    ...run,
    plan: applied ? undefined : plan,
    containerd: containerd?.state === 'planned' ? containerd : undefined,
  });
}

/** The status with findings that were made after READY. */
export function withFindings(status: StatusDocument, later: readonly Finding[]): StatusDocument {
  const [first] = later;
  if (first === undefined) return status;
  const findings = [...status.findings, ...later];
  const state = worseState(status.state, stateOf(later, 1));
  if (state === status.state) return { ...status, findings };
  return {
    ...status,
    state,
    findings,
    summary: summaryLine(state, first, findings.length - 1, status.summary.replace(/^\w+: /, '')),
  };
}
