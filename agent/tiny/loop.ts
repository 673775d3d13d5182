import { door } from './door.ts';

/** What is to be done later: at a time, when a descriptor can be read, when a signal comes. */
interface Timer {
  readonly act: () => void;
  readonly atUsec: number;
  /** After how long it is done again. */
  readonly everyMs: number | undefined;
}

const timers = new Map<number, Timer>();
const readers = new Map<number, () => void>();
const signals = new Map<number, () => void>();
let last = 0;
/** How many descriptors were read since timers were last looked at. */
let reads = 0;

/** @returns what `cancel` takes */
export function schedule(act: () => void, milliseconds: number, again: boolean): number {
  last += 1;
  timers.set(last, {
    act,
    atUsec: door.monotonicUsec() + Math.max(milliseconds, 1) * 1000,
    everyMs: again ? milliseconds : undefined,
  });
  return last;
}

/** Calls `act` as soon as all that is ready now has been done. */
export function soon(act: () => void): void {
  last += 1;
  timers.set(last, { act, atUsec: 0, everyMs: undefined });
}

export function cancel(timer: number | undefined): void {
  if (timer !== undefined) timers.delete(timer);
}

/** Calls `act` whenever a descriptor can be read. @returns what ends that */
export function whenReadable(fd: number, act: () => void): () => void {
  readers.set(fd, act);
  return () => readers.delete(fd);
}

/** Calls `act` whenever a signal comes, which then does nothing by itself. */
export function whenSignalled(number: number, act: () => void): void {
  door.takeSignal(number);
  signals.set(number, act);
}

/** Obeys the signals that have come. */
export function obeySignals(): void {
  for (const number of door.signals()) signals.get(number)?.();
}

/** Waits for what is next, and does it. @returns whether anything was left to be done */
function turn(): boolean {
  const next = nextTimer();
  if (next === undefined && readers.size === 0) return false;
  const leftUsec = next === undefined ? -1 : Math.max(0, next[1].atUsec - door.monotonicUsec());
  const fd = door.wait([...readers.keys()], leftUsec);
  obeySignals();
  if (fd !== -1) {
    read(fd);
    // Timers are looked at once each descriptor has had its turn, however much comes.
    reads += 1;
    if (reads < readers.size) return true;
  }
  reads = 0;
  if (next !== undefined && timers.has(next[0]) && next[1].atUsec <= door.monotonicUsec()) run(...next);
  return true;
}

/** Next time, the other descriptors come first. */
function read(fd: number): void {
  const act = readers.get(fd);
  if (act === undefined) return;
  readers.delete(fd);
  readers.set(fd, act);
  act();
}

function nextTimer(): [number: number, timer: Timer] | undefined {
  let next: [number, Timer] | undefined;
  for (const entry of timers) if (next === undefined || entry[1].atUsec < next[1].atUsec) next = entry;
  return next;
}

function run(number: number, { act, everyMs }: Timer): void {
  if (everyMs === undefined) timers.delete(number);
  else timers.set(number, { act, atUsec: door.monotonicUsec() + Math.max(everyMs, 1) * 1000, everyMs });
  act();
}

door.onTurn(turn);
