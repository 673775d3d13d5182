import { monotonicUsec } from '../system/clock.ts';

/** What a run is at, in this order. */
export type Phase = 'config' | 'discover' | 'mount' | 'read' | 'plan' | 'apply' | 'check' | 'ready';

/** When each phase began, CLOCK_MONOTONIC in microseconds. */
export interface Timing {
  readonly phase: Phase;
  readonly startUsec: number;
  /** What it had to wait for, in words. */
  readonly waitedFor?: string;
}

/** Notes when each phase begins. */
export class Timings {
  readonly entries: Timing[] = [];

  begin(phase: Phase): void {
    this.entries.push({ phase, startUsec: monotonicUsec() });
  }

  /** Says what the current phase waited for. */
  waited(what: string): void {
    const current = this.entries.pop();
    if (current !== undefined) this.entries.push({ ...current, waitedFor: what });
  }

  /** Microseconds from the first phase to now. */
  elapsedUsec(): number {
    const [first] = this.entries;
    return first === undefined ? 0 : monotonicUsec() - first.startUsec;
  }
}
