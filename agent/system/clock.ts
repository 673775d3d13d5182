import { systemCall } from './libc.ts';

const CLOCK_MONOTONIC = 1;
const timespec = Buffer.alloc(16);

/**
 * CLOCK_MONOTONIC in microseconds: the clock of systemd's own `…TimestampMonotonic` properties, so both fit into one
 * timeline. (process.hrtime does not work: under Bun it counts from the start of the process.)
 */
export function monotonicUsec(): number {
  systemCall('clock_gettime', CLOCK_MONOTONIC, timespec);
  return Number(timespec.readBigInt64LE(0)) * 1_000_000 + Math.floor(Number(timespec.readBigInt64LE(8)) / 1000);
}

/** The same in milliseconds. */
export function monotonicMs(): number {
  return monotonicUsec() / 1000;
}

/** Blocks the whole process. Only for a moment between two system calls. */
export function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Resolves after the given time. Only for polling where the kernel offers no event. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

/** Calls `act` once, after the given time. @returns what cancels it */
export function after(milliseconds: number, act: () => void): () => void {
  const timer = setTimeout(act, milliseconds);
  return () => clearTimeout(timer);
}

/** Waits until a promise, which does not reject, has settled, or until the given time has passed. */
export async function atMost(milliseconds: number, promise: Promise<unknown>): Promise<void> {
  let cancel = (): void => undefined;
  const passed = new Promise<void>((resolve) => (cancel = after(milliseconds, resolve)));
  await Promise.race([promise, passed]);
  cancel();
}

/** Calls `act` again and again, until it is cancelled. @returns what cancels it */
export function every(milliseconds: number, act: () => void): () => void {
  const timer = setInterval(act, milliseconds);
  return () => clearInterval(timer);
}

/** How long this process has run, in milliseconds: cheaper than a system call, for what is measured often. */
export function processMs(): number {
  return performance.now();
}

/**
 * The time of day, in milliseconds since 1970. It jumps when it is set, so it is only for what is compared with such.
 */
export function wallMs(): number {
  return Date.now();
}

/** The time of day as it is told: ISO 8601, in UTC. */
export function wallTime(): string {
  return new Date().toISOString();
}

/** Ends this process by SIGALRM after so many seconds, whatever it does then; a later call counts anew (alarm(2)). */
export function endAfter(seconds: number): void {
  systemCall('alarm', Math.ceil(seconds));
}
