import type { Preload } from '../boot/preload.ts';
import { effectOf, type Finding } from '../messages/finding.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { changesOf, isApplied } from './pending.ts';
import { stateOf, type State } from './state.ts';

/** What kept a run from filling the store at all: a finding that is not about a single disk, device or image. */
export function runFailure(run: Preload): Finding | undefined {
  if (isApplied(run)) return undefined;
  return run.findings.find(
    (finding) =>
      effectOf(finding) !== 'none' &&
      finding.label === undefined &&
      finding.device === undefined &&
      finding.image === undefined,
  );
}

/** A run in one line. The service manager gets it with READY, before the rest of the status is made. */
export function summarise(run: Preload, readyUsec: number): string {
  const state = stateOf(run.findings, run.disks.length);
  const first = run.timings.entries[0]?.startUsec ?? readyUsec;
  const milliseconds = Math.round((readyUsec - first) / 1000);
  const worst = run.findings.find((finding) => stateOf([finding], 1) === state);
  const counts = `${plural(run.disks.length, 'disk')}, ${plural(countOf(run, 'images'), 'image')}, ${plural(countOf(run, 'layers'), 'layer')}`;
  const steps = changesOf(run);
  const text = `${counts}, ${doneBy(run, steps)}, ${milliseconds} ms`;
  return summaryLine(
    state,
    state === 'degraded' || state === 'failed' ? worst : undefined,
    run.findings.length - 1,
    text,
  );
}

/** What the disks offer together; where only containerd is filled, what each of them has. */
function countOf({ plan, disks }: Preload, what: 'images' | 'layers'): number {
  return plan?.offer[what].size ?? new Set(disks.flatMap(({ content }) => [...content[what].keys()])).size;
}

/** If the whole run failed, restarting Docker would not help, so it is not suggested. */
function doneBy(run: Preload, steps: number): string {
  if (run.containerd?.state === 'waiting' && (run.plan === undefined || run.applied))
    return `${steps === 0 ? '' : `${plural(steps, 'change')}, `}containerd is filled when it runs`;
  if (isApplied(run)) return steps === 0 ? 'nothing to change' : plural(steps, 'change');
  if (steps === 0) return 'nothing changed';
  return runFailure(run) === undefined
    ? `${plural(steps, 'change')} pending: run ${(run.plan?.steps.length ?? 0) > 0 ? 'systemctl restart docker' : 'docker-preloader apply'}`
    : `${plural(steps, 'change')} not made`;
}

/** The line is sent to terminals and to the service manager as it is. */
export function summaryLine(state: State, worst: Finding | undefined, others: number, text: string): string {
  const more = others > 0 ? ` (and ${others} more)` : '';
  return oneLine(worst === undefined ? `${state}: ${text}` : `${state}: ${worst.message}${more}; ${text}`);
}
