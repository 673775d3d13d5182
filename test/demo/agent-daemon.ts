import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';
import { cleanUpLater } from '../support/cleanup.ts';
import { writeDockerdConfig } from '../support/dockerd.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { inContainerd } from './docker.ts';
import { announce, output, run, said, shellLine } from './transcript.ts';

/** When the phases of a run of the agent began, and when it was READY: CLOCK_MONOTONIC in microseconds. */
export interface AgentTimeline {
  readonly timings: readonly { readonly phase: string; readonly startUsec: number }[];
  readonly readyUsec: number;
}

export interface AgentDaemon {
  /** From its start to its READY=1, as the notification socket saw it. */
  readonly readyMs: number;
  readonly mountRoot: string;
  /** Runs another command of the agent with the same configuration, printing it. */
  command(name: string, ...args: readonly string[]): Promise<string>;
  /** From `GET /v1/status`. */
  timeline(): Promise<AgentTimeline>;
  stop(): Promise<void>;
}

/**
 * Starts `docker-preloader run` as a service manager does, on the data root of the Docker in `folder`, and waits for
 * READY=1.
 * @param labels globs of the disks to take
 * @throws Error with what it logged, where it ends before
 */
export async function startAgent(folder: string, labels: readonly string[]): Promise<AgentDaemon> {
  const { config, mountRoot } = await configure(folder, labels, {});
  const [program, ...before] = agentCommand();
  const socketPath = path.join(folder, 'notify.sock');
  announce(`socat -u UNIX-RECV:${shellLine([socketPath])} STDOUT &`);
  const socket = await notifySocket(socketPath);
  // setpriv: should the demo be killed outright, the kernel ends the agent. Detached: Ctrl-C is for the demo alone.
  const argv = ['--pdeathsig', 'TERM', program, ...before, 'run', '--config', config];
  announce(`NOTIFY_SOCKET=${shellLine([socketPath])} ${shellLine(['setpriv', ...argv])} &`);
  const logFile = path.join(folder, 'agent.log');
  const log = openSync(logFile, 'a');
  const start = performance.now();
  const child = spawn('setpriv', argv, {
    stdio: ['ignore', log, log],
    detached: true,
    env: { ...process.env, NOTIFY_SOCKET: socketPath },
  });
  closeSync(log);
  const exited = once(child, 'exit');
  const end = cleanUpLater('the agent', async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const readyAt = await Promise.race([socket.waitFor('READY=1'), exited.then(() => undefined)]);
  output(readFileSync(logFile, 'utf8'));
  if (readyAt === undefined)
    throw new Error(
      `expected READY=1 of the agent, but it ended with exit status ${String(child.exitCode ?? child.signalCode)}; what it said is above`,
    );
  await socket.close();
  const own = (...args: readonly string[]): [string, ...string[]] => [program, ...before, ...args, '--config', config];
  return {
    readyMs: readyAt - start,
    mountRoot,
    command: (name, ...args) => run(own(name, ...args)),
    timeline: async () => {
      const argvOfStatus = own('status', '--json');
      announce(shellLine(argvOfStatus));
      const [command, ...args] = argvOfStatus;
      const stdout = await said(
        shellLine(argvOfStatus),
        execa(command, args, { stdin: 'ignore', all: true }).then((ended) => ({ stdout: ended.stdout, all: '' })),
      );
      return JSON.parse(stdout) as AgentTimeline;
    },
    stop: async () => {
      announce(`kill -TERM ${String(child.pid)}`);
      child.kill('SIGTERM');
      const [code, signal] = (await exited) as [number | null, string | null];
      await end();
      if (code !== 0)
        throw new Error(`expected exit status 0 of the agent after SIGTERM, found ${String(code ?? signal)}`);
    },
  };
}

/** Runs `docker-preloader apply` without a daemon, for the Docker in `folder` that has its images in a containerd. */
export async function applyInContainerd(
  folder: string,
  labels: readonly string[],
  containerdAddress: string,
): Promise<void> {
  const { config } = await configure(folder, labels, { containerdAddress });
  await run([...agentCommand(), 'apply', '--config', config]);
}

/** Writes a configuration of the agent, for the data root of the Docker in `folder`. */
async function configure(
  folder: string,
  labels: readonly string[],
  more: { readonly containerdAddress?: string },
): Promise<{ readonly config: string; readonly mountRoot: string }> {
  const dataRoot = path.join(folder, 'data');
  const mountRoot = path.join(folder, 'disks');
  await mkdir(dataRoot, { recursive: true });
  const extraConfig = more.containerdAddress === undefined ? {} : inContainerd(more.containerdAddress);
  const dockerConfig = await writeDockerdConfig({ dataRoot, folder, extraConfig });
  const config = path.join(folder, 'docker-preloader.json');
  const content = JSON.stringify(
    { labels, dockerConfig, mountRoot, statusSocket: path.join(folder, 'agent/status.sock'), ...more },
    undefined,
    2,
  );
  announce(`cat > ${shellLine([config])} <<'EOF'\n${content}\nEOF`);
  await writeFile(config, content);
  return { config, mountRoot };
}
