import { monotonicUsec } from '../../system/clock.ts';

/** The last tenths of the whole time are for its end, at most so much each. */
const GRACE_MS = 2_000;
const KILL_MS = 1_000;

/** A time in which something is to have been started, used, and ended. */
export class TimeLimit {
  readonly seconds: number;
  /** For an end that is asked for. */
  readonly graceMs: number;
  /** For one that leaves no choice. */
  readonly #killMs: number;
  readonly #deadlineUsec: number;

  /** @throws RangeError */
  constructor(timeoutMs: number) {
    if (!(timeoutMs >= 1 && timeoutMs < 2 ** 31))
      throw new RangeError(`expected a time of 1 to ${2 ** 31 - 1} ms, found ${timeoutMs}`);
    this.seconds = timeoutMs / 1000;
    this.graceMs = Math.min(GRACE_MS, timeoutMs / 10);
    this.#killMs = Math.min(KILL_MS, timeoutMs / 10);
    this.#deadlineUsec = monotonicUsec() + timeoutMs * 1000;
  }

  /** At least 1, as 0 would stand for no limit. */
  get leftMs(): number {
    return Math.max((this.#deadlineUsec - monotonicUsec()) / 1000, 1);
  }

  /** Until it has to be ended; at least 1. */
  get leftForUseMs(): number {
    return Math.max(this.leftMs - this.graceMs - this.#killMs, 1);
  }

  get isOverForUse(): boolean {
    return this.leftForUseMs <= 1;
  }
}
