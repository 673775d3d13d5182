import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { agentCommand } from './agent.ts';
import { cleanUpLater } from './cleanup.ts';
import { notifySocket } from './notify-socket.ts';

/** `docker-preloader run`. */
export interface Daemon {
  readonly pid: number;
  /** What it has said so far. */
  log(): string;
  /** Resolves once it has ended, with its exit status or the signal. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Sends a signal, and waits for its end. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>;
}

let daemons = 0;

/** Starts it as its unit does, and waits for READY. @param folder where its log and its service manager's socket may be */
export async function startDaemon(configFile: string, folder: string): Promise<Daemon> {
  const socket = await notifySocket(path.join(folder, `notify-${daemons++}.sock`));
  const daemon = spawnDaemon(configFile, folder, { NOTIFY_SOCKET: socket.path });
  await Promise.race([
    socket.waitFor('READY=1'),
    daemon.ended.then(() =>
      Promise.reject(new Error(`expected READY=1, found the end of the agent:\n${daemon.log()}`)),
    ),
  ]);
  await socket.close();
  return daemon;
}

/**
 * Starts it, and waits for nothing. It is handed its configuration open: where a test is interrupted, the file may be gone
 * before it is read, and the agent would serve that on the machine's own /run/docker-preloader.
 * @param env besides that of the tests
 * @throws system errors, ENOENT where the file is gone already
 */
export function spawnDaemon(configFile: string, folder: string, env: Readonly<Record<string, string>>): Daemon {
  const [command, ...args] = agentCommand();
  const logFile = path.join(folder, `agent-${daemons++}.log`);
  const config = openSync(configFile, 'r');
  const log = openSync(logFile, 'a');
  // setpriv: should the tests be killed outright, the kernel ends the agent.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args, 'run', '--config', '/dev/fd/3'], {
    stdio: ['ignore', log, log, config],
    env: { ...process.env, ...env },
  });
  for (const fd of [config, log]) closeSync(fd);
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const end = cleanUpLater(`the agent on ${folder}`, async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return {
    pid: child.pid ?? 0,
    ended,
    log: () => readFileSync(logFile, 'utf8'),
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal);
      const how = await ended;
      await end();
      return how;
    },
  };
}
