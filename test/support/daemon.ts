import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { agentCommand } from './agent.ts';
import { activationSocket } from './activation-socket.ts';
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

/**
 * Starts it as its unit and its socket do, and waits for READY.
 * @param folder where its log and its service manager's socket may be
 */
export async function startDaemon(configFile: string, folder: string): Promise<Daemon> {
  const socket = await notifySocket(path.join(folder, `notify-${daemons++}.sock`));
  const { statusSocket } = JSON.parse(readFileSync(configFile, 'utf8')) as { readonly statusSocket: string };
  const activation = await activationSocket(statusSocket);
  const daemon = spawnDaemon(configFile, folder, { NOTIFY_SOCKET: socket.path, LISTEN_FDS: '1' }, activation.fd);
  activation.close();
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
 * Starts it, and waits for nothing. It is handed its configuration open: where a test is interrupted, the file may be
 * gone before it is read, and the agent would serve that on the machine's own /run/docker-preloader.
 * @param env besides that of the tests
 * @param listening the socket that it is activated with
 * @throws system errors, ENOENT where the file is gone already
 */
export function spawnDaemon(
  configFile: string,
  folder: string,
  env: Readonly<Record<string, string>>,
  listening?: number,
): Daemon {
  const [command, ...args] = agentCommand();
  const logFile = path.join(folder, `agent-${daemons++}.log`);
  const config = openSync(configFile, 'r');
  const log = openSync(logFile, 'a');
  // setpriv: should the tests be killed outright, the kernel ends the agent.
  const shell = ['sh', '-c', 'export LISTEN_PID=$$; exec "$@"', 'sh', command, ...args];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...shell, 'run', '--config', '/dev/fd/4'], {
    stdio: ['ignore', log, log, listening ?? 'ignore', config],
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
