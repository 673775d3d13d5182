import { startProgram, type Environment, type RunningProgram } from './child-process.ts';
import { atMost, delay, monotonicUsec, pause } from './clock.ts';
import { isAlive, isGroupAlive, signal } from './processes.ts';
import { pathOf, WITH_US } from './run-tool.ts';

const POLL_MS = 2;

/**
 * Starts timeout(1), which starts the program. The kernel kills each of them when its parent ends. If the parent has
 * ended before that was asked of the kernel, the process has another parent by now, and goes no further. The parent of
 * the program is timeout. With that of BusyBox it is our process.
 */
const SCRIPT = `test "$PPID" = "$1" || exit 1
agent=$1 limit=$2 setpriv=$3 timeout=$4
shift 4
exec "$timeout" -s KILL "$limit" "$setpriv" --pdeathsig KILL sh -c 'test "$PPID" = "$1" || test "$PPID" = "$2" || exit 1
shift 2
exec "$@"' sh $$ "$agent" "$@"`;

export interface BriefOptions {
  /** After this time it is killed, whatever we do then. */
  readonly limitMs: number;
  /** All of its environment. */
  readonly env: Environment;
  /** The descriptor that its output and errors go to, or `pipe` for streams. */
  readonly output: number | 'pipe';
}

/**
 * A program of our own that runs for a short time. It does not outlive us, even if we are killed. It does not outlive
 * that time either, even if we hang, because timeout(1) sees to it. It sees what others mount meanwhile, and nobody
 * sees what it mounts. This needs root.
 */
export class BriefProgram {
  readonly process: RunningProgram;
  /** Settles when it has ended, or could not be started. */
  readonly ended: Promise<void>;
  #hasEnded = false;
  #failure: Error | undefined;

  /** @param program its path @throws PreloaderError TOOL_MISSING */
  constructor(program: string, args: readonly string[], { limitMs, env, output }: BriefOptions) {
    const setpriv = pathOf('setpriv');
    const ofScript = [String(process.pid), String(limitMs / 1000), setpriv, pathOf('timeout')];
    const ownMounts = [pathOf('unshare'), '--mount', '--propagation', 'slave'];
    const shell = ['sh', '-c', SCRIPT, 'sh', ...ofScript, ...ownMounts, program, ...args];
    this.process = startProgram(setpriv, [...WITH_US, ...shell], output, env);
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#hasEnded = true;
        resolve();
      };
      this.process.once('exit', end);
      this.process.once('error', (error) => {
        this.#failure = error;
        end();
      });
    });
  }

  /** Why it could not be started. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Ends it: SIGTERM, after a while SIGKILL.
   * @param graceMs for it to end by itself @param killMs for the kernel to end it after that
   * @returns whether it is gone
   */
  async end(graceMs: number, killMs: number): Promise<boolean> {
    const pid = this.process.pid;
    if (pid === undefined) return true;
    if (!this.#hasEnded && isAlive(pid)) {
      signal(pid, 'SIGTERM');
      await atMost(graceMs, this.ended);
    }
    for (const deadline = monotonicUsec() + killMs * 1000; this.#isThere(pid);) {
      if (monotonicUsec() > deadline) return false;
      await delay(POLL_MS);
    }
    return true;
  }

  /** The same without the event loop, because a signal is ending this process. */
  endNow(graceMs: number): void {
    const pid = this.process.pid;
    if (pid === undefined || this.#hasEnded) return;
    signal(pid, 'SIGTERM');
    for (const deadline = monotonicUsec() + graceMs * 1000; isAlive(pid) && monotonicUsec() < deadline;) pause(POLL_MS);
    this.#kill(pid);
  }

  /** timeout(1) has a process group for itself and the program. It may end before the program does. */
  #kill(pid: number): boolean {
    if (!this.#hasEnded) signal(pid, 'SIGKILL');
    return signal(-pid, 'SIGKILL');
  }

  /** Kills what is left. @returns whether there was something */
  #isThere(pid: number): boolean {
    return (this.#kill(pid) && isGroupAlive(pid)) || !this.#hasEnded;
  }
}
