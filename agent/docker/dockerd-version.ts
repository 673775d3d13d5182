import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { commandOutput } from '../system/child-process.ts';
import { environment } from '../system/environment.ts';
import { showUnit, valueOf } from '../system/systemctl.ts';
import { parseExecStart } from './service.ts';

/** On an emulated machine, it has taken more than 5 s to load dockerd. */
const VERSION_TIMEOUT_MS = 60_000;

/**
 * The version of the dockerd that will start here: that of the program in docker.service, or without systemd that of
 * the one in PATH. Null if it cannot be known, as where docker.service runs another program that may start dockerd.
 */
export async function installedVersion(): Promise<string | null> {
  try {
    const program = existsSync('/run/systemd/system') ? await programOfService() : undefined;
    const path = program ?? dockerdInPath();
    return path !== undefined && basename(path) === 'dockerd' ? await versionOf(path) : null;
  } catch {
    return null;
  }
}

async function programOfService(): Promise<string | undefined> {
  const properties = await showUnit('docker.service', 'ExecStart', 'LoadState');
  return valueOf(properties, 'LoadState') === 'loaded'
    ? parseExecStart(valueOf(properties, 'ExecStart'))[0]
    : undefined;
}

export function dockerdInPath(): string | undefined {
  return (environment()['PATH'] ?? '')
    .split(':')
    .map((folder) => join(folder, 'dockerd'))
    .find((file) => existsSync(file));
}

/** What a program has said, which stays true until another one is installed in its place. */
export interface SaidVersion {
  readonly program: string;
  readonly version: string;
}

let said: SaidVersion | undefined;
let known: { readonly program: string; readonly version: Promise<string | null> } | undefined;

/**
 * The version that a program says it has. Null if there is no program, or it does not say. It is run once after each
 * installation. We do not ask over docker's socket, because that could start docker.
 */
export function versionOf(path: string): Promise<string | null> {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return Promise.resolve(null);
  const program = `${path} ${stats.ino} ${stats.mtimeMs}`;
  if (known?.program !== program) known = { program, version: askVersion(path, program) };
  return known.version;
}

async function askVersion(path: string, program: string): Promise<string | null> {
  try {
    const version = /version (\S+?),/.exec(await commandOutput(path, ['--version'], VERSION_TIMEOUT_MS))?.[1];
    if (version !== undefined) said = { program, version };
    return version ?? null;
  } catch {
    return null;
  }
}

/** For another process, which need not ask again. */
export function saidVersion(): SaidVersion | undefined {
  return said;
}

export function rememberVersion(other: SaidVersion | undefined): void {
  if (other === undefined) return;
  said = other;
  known = { program: other.program, version: Promise.resolve(other.version) };
}
