import { monotonicUsec } from '../system/clock.ts';

/** The phases of a run, in their order. */
export type Phase = 'config' | 'discover' | 'mount' | 'read' | 'plan' | 'apply' | 'check' | 'ready';

/** When each phase began, CLOCK_MONOTONIC in microseconds. */
export interface Timing {
  readonly phase: Phase;
  readonly startUsec: number;
  /** What the phase had to wait for, in words. */
  readonly waitedFor?: string;
  /** For `mount`: the disks, each with the moment at which it was mounted. */
  readonly mounted?: readonly { readonly label: string; readonly device: string; readonly atUsec: number }[];
}

/** Notes when each phase begins. */
export class Timings {
  readonly entries: Timing[] = [];

  begin(phase: Phase): void {
    this.entries.push({ phase, startUsec: monotonicUsec() });
  }

  /** Says what the current phase waited for. */
  waited(what: string): void {
    this.#extend({ waitedFor: what });
  }

  /** Says that a disk is mounted now. */
  mounted(label: string, device: string): void {
    this.#extend({ mounted: [...(this.entries.at(-1)?.mounted ?? []), { label, device, atUsec: monotonicUsec() }] });
  }

  #extend(more: Partial<Timing>): void {
    const current = this.entries.pop();
    if (current !== undefined) this.entries.push({ ...current, ...more });
  }

  /** Microseconds from the first phase to now. */
  elapsedUsec(): number {
    const [first] = this.entries;
    return first === undefined ? 0 : monotonicUsec() - first.startUsec;
  }
}
