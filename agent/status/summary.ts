import type { Preload } from '../boot/preload.ts';
import type { Finding } from '../disk/finding.ts';
import { oneLine } from '../system/one-line.ts';
import { plural } from '../system/plural.ts';
import { stateOf, type State } from './state.ts';

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
  return summaryLine(state, (state === 'degraded' || state === 'failed') ? worst : undefined, run.findings.length - 1, text);
}

/** It goes to terminals and to the service manager as it is. */
export function summaryLine(state: State, worst: Finding | undefined, others: number, text: string): string {
  const more = others > 0 ? ` (and ${others} more)` : '';
  return oneLine(worst === undefined ? `${state}: ${text}` : `${state}: ${worst.message}${more}; ${text}`);
}
