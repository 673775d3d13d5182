import { effectOf, type Finding } from '../messages/finding.ts';

/** How a run ended. */
export type State = 'ok' | 'empty' | 'degraded' | 'failed';

/** The states, what each means, and its exit status. All tables come from here. */
export const states = {
  ok: { exitStatus: 0, meaning: 'everything on the disks is in the store' },
  empty: { exitStatus: 0, meaning: 'no preload disk is attached' },
  degraded: { exitStatus: 3, meaning: 'done, but something was left out' },
  failed: { exitStatus: 1, meaning: 'a required disk is missing, or the store could not be filled' },
} as const satisfies Record<State, { readonly exitStatus: number; readonly meaning: string }>;

/** The state that follows from the findings. @param disks how many disks are in use */
export function stateOf(findings: readonly Finding[], disks: number): State {
  const effects = new Set(findings.map((finding) => effectOf(finding)));
  if (effects.has('failed')) return 'failed';
  if (effects.has('degraded')) return 'degraded';
  return disks === 0 ? 'empty' : 'ok';
}

/** The worse one of two states. `ok` and `empty` count as equally good. */
export function worseState(a: State, b: State): State {
  const order: readonly State[] = ['ok', 'empty', 'degraded', 'failed'];
  return order.indexOf(b) > order.indexOf(a) ? b : a;
}
