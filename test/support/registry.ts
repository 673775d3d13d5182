import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { cleanUpLater } from './cleanup.ts';
import { fetchDebianPackage } from './debian-packages.ts';

export interface Registry {
  /** `127.0.0.1:PORT`, which dockerd takes for insecure by itself. */
  readonly address: string;
  stop(): Promise<void>;
}

export interface RegistryOptions {
  /** PEM files, for TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** A file of htpasswd, with bcrypt: who may come in. */
  readonly htpasswd?: string;
  /** Where it listens; by default on a free port of 127.0.0.1. */
  readonly listen?: string;
}

/** Debian's docker-registry. */
export async function registryProgram(): Promise<string> {
  return path.join(await fetchDebianPackage('bookworm', ['docker-registry']), 'usr/bin/docker-registry');
}

/**
 * Starts Debian's docker-registry on a free port of the loopback interface.
 * @param folder holds its configuration, and in `storage` its content
 */
export async function startRegistry(
  folder: string,
  { tls, htpasswd, listen = '127.0.0.1:0' }: RegistryOptions = {},
): Promise<Registry> {
  const program = await registryProgram();
  await mkdir(path.join(folder, 'storage'), { recursive: true });
  const config = path.join(folder, 'config.yml');
  await writeFile(
    config,
    `version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: ${path.join(folder, 'storage')}}}\nhttp: {addr: "${listen}"${tls === undefined ? '' : `, tls: ${JSON.stringify(tls)}`}}\n` +
      (htpasswd === undefined ? '' : `auth: {htpasswd: {realm: registry, path: ${htpasswd}}}\n`),
  );
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, 'serve', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  const exited = once(child, 'exit');
  const stop = cleanUpLater('docker-registry', async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line);
    const address = /listening on ((?:127\.[\d.]+|\[::1\]):\d+)/.exec(line)?.[1];
    if (address !== undefined) {
      child.stderr.resume();
      return { address, stop };
    }
  }
  await stop();
  throw new Error(`Expected docker-registry to listen, but it ended:\n${said.join('\n')}`);
}
