import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { agentCommand } from '../support/agent.ts';
import { cleanUpLater } from '../support/cleanup.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { notifySocket } from '../support/notify-socket.ts';
import type { Site } from './site.ts';

/** `docker-preloader run` on a site, as its unit starts it. */
export interface SiteDaemon {
  readonly pid: number;
  /** What it has logged so far. */
  log(): string;
  /** Resolves once it follows what happens on a dockerd. */
  follows(dockerd: Dockerd): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

let daemons = 0;

/** Starts it, and waits for READY. @param env for it, besides that of the tests */
export async function startDaemon(site: Site, env: Readonly<Record<string, string>> = {}): Promise<SiteDaemon> {
  const socket = await notifySocket(path.join(site.folder, `notify-${daemons++}.sock`));
  const [command, ...args] = agentCommand();
  const logFile = path.join(site.folder, 'agent.log');
  rmSync(logFile, { force: true });
  const log = openSync(logFile, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args, 'run', '--config', path.join(site.folder, 'config.json')], { stdio: ['ignore', log, log], env: { ...process.env, ...env, NOTIFY_SOCKET: socket.path } });
  closeSync(log);
  const exited = once(child, 'exit');
  const end = cleanUpLater(`the agent on ${site.folder}`, async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await Promise.race([socket.waitFor('READY=1'), exited.then(() => Promise.reject(new Error(`READY=1 expected, found the end of the agent:\n${readFileSync(logFile, 'utf8')}`)))]);
  await socket.close();
  return {
    pid: child.pid ?? 0,
    log: () => readFileSync(logFile, 'utf8'),
    follows: async (dockerd) => {
      await until('the agent follows dockerd', async () => Number(await dockerd.cli(['info', '--format', '{{.NEventsListener}}'])) > 0);
      // It looks at the store once dockerd tells it of events.
      await new Promise((resolve) => setTimeout(resolve, 200));
    },
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      await exited;
      await end();
    },
  };
}

/** Waits for something that no event tells of. @returns after how many milliseconds */
export async function until(what: string, isSo: () => Promise<boolean>, limitMs = 20_000): Promise<number> {
  const start = performance.now();
  while (!(await isSo())) {
    if (performance.now() - start > limitMs) throw new Error(`${what} within ${limitMs / 1000} s expected`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return performance.now() - start;
}
