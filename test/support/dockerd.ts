import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, watch } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import path from 'node:path';
import { execa } from 'execa';
import { cleanUpLater } from './cleanup.ts';
import { dockerdTree, type DockerdTree, type DockerdVersion } from './dockerd-version.ts';
import { withNativeDiff } from './native-diff.ts';
import { killUsersOf } from './processes.ts';
import { tempTree, unmountBelow } from './temp-tree.ts';

export interface DockerdOptions {
  readonly version: DockerdVersion;
  /** Its --data-root. What is mounted below it is unmounted when dockerd ends; it is not removed. */
  readonly dataRoot: string;
  /** Where daemon.json, the log, the socket and the exec root go; a temporary folder where absent. */
  readonly folder?: string | undefined;
  /** Further keys of daemon.json. */
  readonly extraConfig?: Readonly<Record<string, unknown>> | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** How long it may take until it answers; 60 where absent. */
  readonly startTimeoutSec?: number;
}

interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Return what went to stderr too, where BuildKit's progress and warnings go. */
  readonly all?: boolean;
}

export interface Dockerd {
  readonly version: DockerdVersion;
  readonly pid: number;
  readonly socket: string;
  readonly configFile: string;
  readonly dataRoot: string;
  /** Runs its own docker CLI against it: returns stdout without the last newline, throws with all output on failure. */
  cli(args: readonly string[], input?: string | Uint8Array, options?: CliOptions): Promise<string>;
  /** SIGTERM, waits for the end, clears what is left mounted. Throws with the log when it does not end well. */
  stop(): Promise<void>;
  /**
   * SIGTERM and its end, and nothing is cleared: with `live-restore`, its containers run on for the next one in this
   * folder.
   */
  leave(): Promise<void>;
  /** SIGKILL, as in a crash; its containers are killed too, what is left mounted is cleared. */
  kill(): Promise<void>;
  /** What this start of it has logged so far. */
  log(): string;
}

/**
 * Starts a private dockerd and waits until it answers.
 *
 * Data root, exec root, containerd, socket and daemon.json are its own; it has no bridge and no iptables, so containers
 * need `--network none`. The machine's own dockerd is not touched. It ends with this process at the latest.
 * @throws Error with dockerd's log when it ends early or does not answer in time
 */
export async function startDockerd(options: DockerdOptions): Promise<Dockerd> {
  const tree = await dockerdTree(options.version);
  const own = options.folder === undefined ? await tempTree('dpl-dockerd') : undefined;
  const folder = options.folder ?? own?.path ?? '';
  const run = path.join(folder, 'run');
  const socket = path.join(run, 'docker.sock');
  await mkdir(run, { recursive: true });
  const configFile = await writeDockerdConfig({ ...options, folder });
  const env = environment(tree, options.env);

  const logFile = path.join(folder, 'dockerd.log');
  const output = openSync(logFile, 'a');
  const logStart = readFileSync(logFile).length;
  // setpriv: should the tests be killed outright, the kernel ends dockerd. Detached: Ctrl-C is for the tests alone.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', tree.dockerd, '--config-file', configFile], {
    stdio: ['ignore', output, output],
    detached: true,
    env,
    cwd: folder,
  });
  closeSync(output);
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const log = (): string => readFileSync(logFile).subarray(logStart).toString();
  const end = cleanUpLater(`dockerd ${options.version} on ${options.dataRoot}`, async () => {
    child.kill('SIGKILL');
    await exited;
    await killUsersOf(run);
    // The next dockerd in this folder would take whatever process has the number by then for its containerd (moby,
    // libcontainerd/supervisor/remote_daemon.go), or for itself.
    for (const name of ['docker.pid', 'exec/containerd/containerd.pid'])
      await rm(path.join(run, name), { force: true });
    await unmountBelow(run);
    await unmountBelow(options.dataRoot);
    await own?.remove();
  });

  try {
    await withNativeDiff(() => untilItAnswers(child, socket, options.startTimeoutSec ?? 60));
  } catch (error) {
    const said = log();
    await end();
    throw new Error(
      `dockerd ${options.version} did not start on ${options.dataRoot}: ${(error as Error).message}\n${lastLines(said)}`,
    );
  }
  return {
    version: options.version,
    pid: child.pid ?? 0,
    socket,
    configFile,
    dataRoot: options.dataRoot,
    log,
    kill: end,
    cli: async (args, input, { env: cliEnv, all } = {}) => {
      const result = await execa(tree.cli, ['-H', `unix://${socket}`, ...args], {
        env: { ...env, ...cliEnv },
        all: true,
        maxBuffer: 2 ** 26,
        timeout: 300_000,
        ...(input === undefined ? { stdin: 'ignore' } : { input }),
      });
      return all === true ? result.all : result.stdout;
    },
    leave: async () => {
      child.kill('SIGTERM');
      await exited;
    },
    stop: async () => {
      child.kill('SIGTERM');
      const [code, signal] = await exited;
      const said = log();
      await end();
      if (code !== 0)
        throw new Error(
          `Expected dockerd ${options.version} to end with 0, got ${String(code ?? signal)}\n${lastLines(said)}`,
        );
    },
  };
}

/**
 * Writes the daemon.json that `startDockerd` uses, also ahead of it, for a reader of dockerd's configuration.
 * @returns its path: `daemon.json` in `options.folder`
 */
export async function writeDockerdConfig(
  options: Pick<DockerdOptions, 'dataRoot' | 'extraConfig'> & { readonly folder: string },
): Promise<string> {
  const run = path.join(options.folder, 'run');
  const file = path.join(options.folder, 'daemon.json');
  await writeFile(
    file,
    JSON.stringify(
      {
        'data-root': options.dataRoot,
        'exec-root': path.join(run, 'exec'),
        pidfile: path.join(run, 'docker.pid'),
        hosts: [`unix://${path.join(run, 'docker.sock')}`],
        // The machine's network and its cgroups by systemd are not for a private dockerd.
        bridge: 'none',
        iptables: false,
        ip6tables: false,
        'ip-forward': false,
        'exec-opts': ['native.cgroupdriver=cgroupfs'],
        ...options.extraConfig,
      },
      undefined,
      2,
    ),
  );
  return file;
}

function environment(tree: DockerdTree, more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: `${tree.bin}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
    DOCKER_CONFIG: tree.cliConfig,
    ...(tree.lib === undefined ? {} : { LD_LIBRARY_PATH: tree.lib }),
    ...more,
  };
}

/** Waits until dockerd answers /_ping; it makes the socket early and answers there once its stores are loaded. */
async function untilItAnswers(child: ChildProcess, socket: string, timeoutSec: number): Promise<void> {
  const limit = AbortSignal.timeout(timeoutSec * 1000);
  const stop = new AbortController();
  const signal = AbortSignal.any([limit, stop.signal]);
  try {
    await Promise.race([
      untilExists(socket, signal).then(() => ping(socket, signal)),
      once(child, 'exit', { signal }).then(([code]) => {
        throw new Error(`expected it to answer on ${socket}, but it ended with ${String(code)}`);
      }),
    ]);
  } catch (error) {
    if (limit.aborted) throw new Error(`expected an answer on ${socket} within ${timeoutSec} s`, { cause: error });
    throw error;
  } finally {
    stop.abort();
  }
}

function lastLines(log: string): string {
  return log.trimEnd().split('\n').slice(-30).join('\n');
}

async function untilExists(file: string, signal: AbortSignal): Promise<void> {
  const watcher = watch(path.dirname(file), { signal });
  try {
    while (!existsSync(file)) await once(watcher, 'change', { signal });
  } finally {
    watcher.close();
  }
}

async function ping(socketPath: string, signal: AbortSignal): Promise<void> {
  const asked = request({ socketPath, path: '/_ping', signal });
  asked.end();
  let response: IncomingMessage;
  try {
    [response] = (await once(asked, 'response')) as [IncomingMessage];
  } catch (error) {
    if (signal.aborted) throw error;
    // Bound and not yet listening, or just ending; of the latter its exit tells more than the connection.
    await new Promise((resolve) => setTimeout(resolve, 5));
    return ping(socketPath, signal);
  }
  response.resume();
  if (response.statusCode !== 200) throw new Error(`expected 200 from /_ping, got ${String(response.statusCode)}`);
}
