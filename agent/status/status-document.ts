import { wallTime } from '../system/clock.ts';
import { FORMAT_VERSION } from '../disk/manifest.ts';
import type { Finding } from '../messages/finding.ts';
import { LEDGER_VERSION } from '../overlay2/store/ledger.ts';
import type { Preload } from '../boot/preload.ts';
import { describeStep } from '../overlay2/plan/steps.ts';
import { VERSION } from '../version.ts';
import { diskStatuses } from './disk-status.ts';
import { imageStatuses } from './image-status.ts';
import type { PlanDocument, StatusDocument } from './schema.ts';
import { stateOf, worseState } from './state.ts';
import { runFailure, summarise, summaryLine } from './summary.ts';

/** The status after a run. @param readyUsec when the run ended, CLOCK_MONOTONIC in microseconds */
export function statusDocument(run: Preload, readyUsec: number): StatusDocument {
  const steps = run.plan?.steps ?? [];
  const isPending = run.plan !== undefined && !run.applied && runFailure(run) === undefined;
  return {
    state: stateOf(run.findings, run.disks.length),
    summary: summarise(run, readyUsec),
    version: VERSION,
    formatVersion: FORMAT_VERSION,
    dataRoot: run.dataRoot ?? null,
    dockerRunning: run.isDockerRunning,
    applied: run.applied,
    changes: run.applied ? steps.length : 0,
    pending: isPending ? steps.map(describeStep) : [],
    disks: diskStatuses(run),
    images: imageStatuses(run),
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
export function planDocument(run: Preload): PlanDocument {
  const steps = run.plan?.steps ?? [];
  return {
    state: stateOf(run.findings, run.disks.length),
    steps: steps.map((step) => ({ do: step.do, text: describeStep(step) })),
    findings: run.findings,
  };
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
