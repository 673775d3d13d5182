import { FORMAT_VERSION } from '../disk/manifest.ts';
import type { Finding } from '../disk/finding.ts';
import type { Preload } from '../boot/preload.ts';
import { describeStep } from '../boot/steps.ts';
import { oneLine } from '../system/one-line.ts';
import { plural } from '../system/plural.ts';
import { VERSION } from '../version.ts';
import { diskStatuses } from './disk-status.ts';
import { imageStatuses } from './image-status.ts';
import type { PlanDocument, StatusDocument } from './schema.ts';
import { stateOf, worseState, type State } from './state.ts';

/** Tells of a run. @param readyUsec when it ended, CLOCK_MONOTONIC in microseconds */
export function statusDocument(run: Preload, readyUsec: number): StatusDocument {
  const steps = run.plan?.steps ?? [];
  const isPending = run.plan !== undefined && !run.applied;
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
    timings: run.timings.entries.map(({ phase, startUsec }, index, entries) => ({ phase, startUsec, durationUsec: (entries[index + 1]?.startUsec ?? readyUsec) - startUsec })),
    readyUsec,
    phase: 'ready',
    phaseSince: new Date().toISOString(),
    phaseSinceUsec: readyUsec,
    conflicts: run.findings.flatMap(({ image, conflict, message }) => (image === undefined || conflict === undefined ? [] : [{ reference: image, ...conflict, message }])),
    versions: { agent: VERSION, format: FORMAT_VERSION, dockerd: null },
  };
}

/** What `run` would do to the store now. */
export function planDocument(run: Preload): PlanDocument {
  const steps = run.plan?.steps ?? [];
  return { state: stateOf(run.findings, run.disks.length), steps: steps.map((step) => ({ do: step.do, text: describeStep(step) })), findings: run.findings };
}

/** A run in one line; the service manager gets it with READY, before the rest is made. */
export function summarise(run: Preload, readyUsec: number): string {
  const state = stateOf(run.findings, run.disks.length);
  const first = run.timings.entries[0]?.startUsec ?? readyUsec;
  const milliseconds = Math.round((readyUsec - first) / 1000);
  const worst = run.findings.find((finding) => stateOf([finding], 1) === state);
  const counts = `${plural(run.disks.length, 'disk')}, ${plural(run.plan?.catalogue.images.size ?? 0, 'image')}, ${plural(run.plan?.catalogue.layers.size ?? 0, 'layer')}`;
  const steps = run.plan?.steps.length ?? 0;
  const done = run.applied ? (steps === 0 ? 'nothing to change' : plural(steps, 'change')) : steps > 0 ? `${plural(steps, 'change')} pending: run systemctl restart docker` : 'nothing changed';
  const text = `${counts}, ${done}, ${milliseconds} ms`;
  return line(state, (state === 'degraded' || state === 'failed') ? worst : undefined, run.findings.length - 1, text);
}

/** It goes to terminals and to the service manager as it is. */
function line(state: State, worst: Finding | undefined, others: number, text: string): string {
  const more = others > 0 ? ` (and ${others} more)` : '';
  return oneLine(worst === undefined ? `${state}: ${text}` : `${state}: ${worst.message}${more}; ${text}`);
}

/** The status with what was found out after READY. */
export function withFindings(status: StatusDocument, later: readonly Finding[]): StatusDocument {
  const [first] = later;
  if (first === undefined) return status;
  const findings = [...status.findings, ...later];
  const state = worseState(status.state, stateOf(later, 1));
  if (state === status.state) return { ...status, findings };
  return { ...status, state, findings, summary: line(state, first, findings.length - 1, status.summary.replace(/^\w+: /, '')) };
}
