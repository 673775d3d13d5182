import { door } from './door.ts';
import { checked } from './errno.ts';
import { whenSignalled } from './loop.ts';

const SIGKILL = 9;
const SIGCHLD = 17;
const RUNNING = -1;

export interface Child {
  readonly pid: number;
  /** Its exit status, or 128 plus the signal that has ended it. 127 if it could not be started. */
  readonly ended: Promise<number>;
  /** Kills it, and waits until it is gone. */
  kill(): void;
}

const running = new Map<number, (status: number) => void>();

/** For each stream of a program the descriptor that it gets. Less than 0 means none. */
export type Streams = readonly [input: number, output: number, errors: number];

/** Starts a program that ends with us. @throws an error as node:fs has it */
export function startChild(words: readonly string[], streams: Streams): Child {
  if (running.size === 0) whenSignalled(SIGCHLD, lookAtAll);
  const pid = checked(door.start(words, ...streams), 'fork');
  return {
    pid,
    ended: new Promise((resolve) => running.set(pid, resolve)),
    kill: () => {
      door.kill(pid, SIGKILL);
      while (running.has(pid)) {
        door.calls.poll(null, 0, 1);
        lookAtAll();
      }
    },
  };
}

function lookAtAll(): void {
  for (const [pid, resolve] of running) {
    const status = door.ended(pid);
    if (status === RUNNING) continue;
    running.delete(pid);
    resolve(status);
  }
}
