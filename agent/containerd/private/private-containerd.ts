import { closeSync, existsSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { BriefProgram } from '../../system/brief-program.ts';
import { after, atMost, delay, monotonicUsec } from '../../system/clock.ts';
import { environment } from '../../system/environment.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { ensureFolder } from '../../system/write-files.ts';
import { lockHolder } from '../../system/lock.ts';
import { commandLine, signal } from '../../system/processes.ts';
import { realPathOf } from '../../system/real-path.ts';
import { findProgram } from '../../system/run-tool.ts';
import { Containerd } from '../api/containerd-api.ts';
import { daemonSettings, noSettings, privateConfig, type DaemonSettings } from './private-config.ts';
import { PrivatePlace } from './private-place.ts';
import { TimeLimit } from './time-limit.ts';

type Work<Result> = (address: string, settings: DaemonSettings) => Promise<Result>;

export interface PrivateContainerdOptions {
  /** Where the containerd that it stands in for keeps its store, such as `<data-root>/containerd/daemon`. */
  readonly root: string;
  /**
   * The configuration of the containerd that it stands in for. What that says of the store holds here, too. If there is
   * no such file, containerd's defaults hold.
   */
  readonly configFile?: string | undefined;
  /** The program, by its path or by a name that PATH leads to. */
  readonly program?: string | undefined;
  /** Where it has its socket, state and log meanwhile. This is a folder in memory, with a path of at most 70 bytes. */
  readonly runRoot?: string | undefined;
  /** From the call until it is gone. */
  readonly timeoutMs?: number | undefined;
}

/**
 * A containerd that is started meanwhile waits for the lock on its metadata as long as it takes. K3s waits for its
 * containerd without a limit (k3s, pkg/agent/containerd/containerd.go, Run). dockerd gives up one that it has started
 * after 15 s (moby, libcontainerd/supervisor/remote_daemon.go, startupTimeout), so whoever fills its store orders the
 * units, or gives less time.
 */
const TIMEOUT_MS = 30_000;
const RUN_ROOT = '/run/docker-preloader';
const POLL_MS = 5;
/** How long containerd may take to end when a signal ends this process. Our connections are then not closed in time. */
const SIGNAL_GRACE_MS = 200;
/**
 * How long it may take to be gone after it was killed. Only one that waits in the kernel for a device takes so long.
 */
const GONE_MS = 2_000;
/** How long `work` may take to see that its containerd is gone. */
const SETTLE_MS = 500;
/** A dump has some ten thousand bytes. */
const MAX_DUMP_BYTES = 1024 * 1024;

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * Lets `work` have a containerd on a root while the containerd that the root belongs to does not run. It has a socket,
 * a state and a configuration of its own, and serves nothing but the store. It is gone afterwards, and when the time is
 * over at the latest. That holds if `work` fails or hangs, and if this process hangs or is ended by whatever signal.
 *
 * There are never two on one root. containerd holds a lock on its metadata as long as it runs, so one that runs is
 * found before ours is started. If another one takes the lock in that moment, ours ends. By then it has unmounted what
 * it takes for left behind (containerd, cmd/containerd/command/main.go, CleanupTempMounts), so it has mounts of its
 * own.
 * @param work gets the path of the socket, and what the daemon's own configuration says. It closes what it opens,
 * because containerd waits for its clients at its end
 * @throws PreloaderError TOOL_MISSING; LOCKED if another one runs there; STORE_WRITE if it does not start, or if the
 * time is over; what `work` throws
 */
export async function withPrivateContainerd<Result>(
  options: PrivateContainerdOptions,
  work: Work<Result>,
): Promise<Result> {
  const { root, timeoutMs = TIMEOUT_MS, runRoot = RUN_ROOT, program = 'containerd', configFile } = options;
  const time = new TimeLimit(timeoutMs);
  if (!isAbsolute(root) || root.includes('\0'))
    throw new PreloaderError(
      'STORE_WRITE',
      `containerd's root: expected an absolute path, found ${JSON.stringify(root)}`,
    );
  const path = findProgram(program);
  if (path === undefined)
    throw new PreloaderError(
      'TOOL_MISSING',
      `expected the program '${program}' to fill ${root} with while its own containerd does not run, found none: install containerd, or name its path`,
    );
  const place = await PrivatePlace.take(root, runRoot, time);
  try {
    return await new PrivateContainerd({ root, program: path, configFile, place, time }).run(work);
  } finally {
    place.release();
  }
}

interface InstanceOptions {
  readonly root: string;
  readonly program: string;
  readonly configFile: string | undefined;
  readonly place: PrivatePlace;
  readonly time: TimeLimit;
}

class PrivateContainerd {
  readonly #options: InstanceOptions;
  readonly #database: string;
  #running: BriefProgram | undefined;
  /** Who holds the lock on the metadata, once it is ours. */
  #holder: string | undefined;
  #isReady = false;
  #isOver = false;

  constructor(options: InstanceOptions) {
    this.#options = options;
    this.#database = realPathOf(join(options.root, 'io.containerd.metadata.v1.bolt/meta.db'));
  }

  async run<Result>(work: Work<Result>): Promise<Result> {
    const endNow = (): void => this.#endNow();
    const onSignal = (name: NodeJS.Signals): void => {
      this.#endNow();
      for (const one of SIGNALS) process.off(one, onSignal);
      // This process then ends by the signal, so that its caller sees that.
      process.kill(process.pid, name);
    };
    for (const name of SIGNALS) process.on(name, onSignal);
    process.on('exit', endNow);
    try {
      return await this.#runUntilOver(work);
    } finally {
      for (const name of SIGNALS) process.off(name, onSignal);
      process.off('exit', endNow);
    }
  }

  async #runUntilOver<Result>(work: Work<Result>): Promise<Result> {
    let cancel = (): void => undefined;
    const over = new Promise<never>((_, reject) => {
      cancel = after(this.#options.time.leftForUseMs, () => reject(this.#tooLate()));
    });
    const working = this.#work(work);
    const [outcome] = await Promise.allSettled([Promise.race([working, over])]);
    cancel();
    await this.#end();
    // It sees that its containerd is gone.
    await atMost(
      SETTLE_MS,
      working.catch(() => undefined),
    );
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  }

  async #work<Result>(work: Work<Result>): Promise<Result> {
    const { root, place } = this.#options;
    await this.#refuseOther();
    place.empty();
    const settings = await this.#settings();
    makeParent(root);
    place.writeConfig(privateConfig({ root, state: place.state, socket: place.socket }, settings));
    await this.#refuseOther();
    const log = place.openLog();
    let containerd: BriefProgram;
    try {
      containerd = this.#start(['--config', place.config], log);
    } finally {
      closeSync(log);
    }
    await this.#untilItAnswers(containerd);
    this.#isReady = true;
    this.#holder = lockHolder(this.#database);
    const ended = containerd.ended.then(() => Promise.reject(this.#endedEarly(containerd)));
    // When the work is done, it is meant to end.
    ended.catch(() => undefined);
    return Promise.race([work(place.socket, settings), ended]);
  }

  /** A private one whose agent was killed is not in the way. It is dying, or it is ended now. */
  async #refuseOther(): Promise<void> {
    for (;;) {
      const holder = lockHolder(this.#database);
      if (holder === undefined) return;
      if (this.#isOver) throw this.#locked(holder);
      const words = commandLine(Number(holder));
      // A process that is dying has none any more.
      if (words.some((word) => word !== '')) {
        if (!words.includes(this.#options.place.config)) throw this.#locked(holder);
        signal(Number(holder), 'SIGKILL');
      }
      await delay(POLL_MS);
    }
  }

  #locked(holder: string): PreloaderError {
    const { root } = this.#options;
    return new PreloaderError(
      'LOCKED',
      `${root}: expected no containerd that runs on it, found one (process ${holder}): it is left alone, and is to be filled through its own socket`,
    );
  }

  /** What the daemon's own configuration says of its store. */
  async #settings(): Promise<DaemonSettings> {
    const { configFile } = this.#options;
    if (configFile === undefined || !existsSync(configFile)) return noSettings;
    const asked = this.#start(['--config', configFile, 'config', 'dump'], 'pipe');
    const [dump, said] = await Promise.all([textOf(asked.process.stdout), textOf(asked.process.stderr), asked.ended]);
    if (asked.process.exitCode !== 0)
      throw new PreloaderError(
        'STORE_WRITE',
        `${configFile}: expected a configuration that containerd reads, found one that it does not: ${lastLine(said)}`,
      );
    return daemonSettings(dump);
  }

  #start(args: readonly string[], output: number | 'pipe'): BriefProgram {
    const { program, time } = this.#options;
    if (this.#isOver) throw this.#tooLate();
    const { PATH, LD_LIBRARY_PATH } = environment();
    // Nothing else of ours: with NOTIFY_SOCKET it would tell systemd that we are ready.
    this.#running = new BriefProgram(program, args, { limitMs: time.leftMs, env: { PATH, LD_LIBRARY_PATH }, output });
    return this.#running;
  }

  /** Its socket is there before its services are. */
  async #untilItAnswers(containerd: BriefProgram): Promise<void> {
    const { place, time } = this.#options;
    for (;;) {
      if (containerd.hasEnded) throw this.#endedEarly(containerd);
      if (this.#isOver) throw this.#tooLate();
      if (existsSync(place.socket) && (await answers(place.socket, time.leftForUseMs))) return;
      await delay(POLL_MS);
    }
  }

  #endedEarly({ failure }: BriefProgram): PreloaderError {
    const holder = lockHolder(this.#database);
    if (holder !== undefined && !this.#isReady) return this.#locked(holder);
    const words = failure === undefined ? this.#lastWords() : messageOf(failure);
    return new PreloaderError(
      'STORE_WRITE',
      `containerd on ${this.#options.root}: expected that it serves its store, found that it ended: ${words}`,
    );
  }

  #tooLate(): PreloaderError {
    const { root, time } = this.#options;
    const what = this.#isReady ? 'was not filled' : `did not answer (its last words: ${this.#lastWords()})`;
    return new PreloaderError(
      'STORE_WRITE',
      `containerd on ${root}: ${what} within ${time.seconds} s, so it was ended: what is missing is tried again at the next start`,
    );
  }

  #lastWords(): string {
    return lastLine(this.#options.place.log);
  }

  /** @throws PreloaderError where the kernel does not end it */
  async #end(): Promise<void> {
    const { root, place, time } = this.#options;
    this.#isOver = true;
    const running = this.#running;
    const isGone = running === undefined || (await running.end(Math.min(time.graceMs, time.leftMs), GONE_MS));
    // The last of its threads gives back the lock, and may be a moment later.
    for (const end = monotonicUsec() + GONE_MS * 1000; this.#hasLock() && monotonicUsec() < end;) await delay(POLL_MS);
    place.remove();
    if (isGone) return;
    // This process does not wait for it any more.
    running.process.unref();
    throw new PreloaderError(
      'STORE_WRITE',
      `containerd on ${root}: expected it to end when it is killed, found process ${running.process.pid ?? 0} still there: the disk below may not answer`,
    );
  }

  #hasLock(): boolean {
    return this.#holder !== undefined && lockHolder(this.#database) === this.#holder;
  }

  #endNow(): void {
    this.#isOver = true;
    this.#running?.endNow(SIGNAL_GRACE_MS);
    this.#options.place.remove();
  }
}

/** containerd makes its root itself. What is above it may be dockerd's data root, which has this mode. */
function makeParent(root: string): void {
  try {
    ensureFolder(dirname(root), 0o710);
  } catch (error) {
    throw new PreloaderError('STORE_WRITE', `${root}: expected a folder that can be made: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function answers(socket: string, timeoutMs: number): Promise<boolean> {
  try {
    const containerd = await Containerd.open(socket, timeoutMs);
    await containerd.uuid().finally(() => containerd.close());
    return true;
  } catch {
    return false;
  }
}

async function textOf(stream: NodeJS.ReadableStream | null): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of stream ?? []) {
    bytes += part.length;
    if (bytes <= MAX_DUMP_BYTES) parts.push(Buffer.from(part));
  }
  return Buffer.concat(parts).toString('utf8');
}

/** containerd begins its last words with its name. */
function lastLine(text: string): string {
  return (
    text
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^containerd: /, '') || 'none'
  );
}
