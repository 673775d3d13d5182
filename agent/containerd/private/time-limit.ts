import { monotonicUsec } from '../../system/clock.ts';

/** Two tenths of the whole time are kept for its end, but at most these two times. */
const GRACE_MS = 2_000;
const KILL_MS = 1_000;

/** A time within which something has to be started, used and ended. */
export class TimeLimit {
  readonly seconds: number;
  /** For an end that we ask for. */
  readonly graceMs: number;
  /** For one that we force. */
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

  /** What is left of the time. At least 1, because 0 would mean that there is no limit. */
  get leftMs(): number {
    return Math.max((this.#deadlineUsec - monotonicUsec()) / 1000, 1);
  }

  /** What is left until it has to be ended. At least 1. */
  get leftForUseMs(): number {
    return Math.max(this.leftMs - this.graceMs - this.#killMs, 1);
  }

  get isOverForUse(): boolean {
    return this.leftForUseMs <= 1;
  }
}
