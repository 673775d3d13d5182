import { join } from 'node:path';
import { labelPattern } from './label.ts';
import { messageAt, PreloaderError } from '../system/errors.ts';
import { readTextIfThere } from '../system/files.ts';
import { realPathOf } from '../system/real-path.ts';

export const DEFAULT_CONFIG_PATH = '/etc/docker-preloader/config.json';

/** Our configuration, with defaults filled in. */
export interface Config {
  readonly labels: readonly string[];
  readonly required: readonly string[];
  readonly deviceTimeoutSec: number;
  /** Without a request for so long, the daemon ends; 0: never. */
  readonly idleExitSec: number;
  readonly dockerConfig: string;
  /** `unix://` and the path of dockerd's API; undefined where dockerd's own configuration decides. */
  readonly dockerHost?: string | undefined;
  /** Undefined where dockerd's own configuration decides. */
  readonly dataRoot?: string | undefined;
  readonly conflicts: 'user' | 'disk';
  /** Without symlinks. */
  readonly mountRoot: string;
  readonly statusSocket: string;
  readonly removedImages: 'restore' | 'respect';
  /** What a prune of the user's takes: back within seconds, or as `removedImages` says. */
  readonly prunedImages: 'restore' | 'respect';
  /** How much is read ahead after READY at most, in 10^6 bytes; 0: nothing. */
  readonly readAheadMb: number;
}

const defaults: Config = {
  labels: ['dpl-*'],
  required: [],
  deviceTimeoutSec: 10,
  idleExitSec: 0,
  dockerConfig: '/etc/docker/daemon.json',
  conflicts: 'user',
  mountRoot: '/run/docker-preloader/disks',
  statusSocket: '/run/docker-preloader/status.sock',
  removedImages: 'restore',
  prunedImages: 'restore',
  readAheadMb: 512,
};

/** The configuration where there is no file. */
export function defaultConfig(): Config {
  return defaults;
}

/**
 * Reads the configuration; no file means all defaults, and zod is not loaded.
 * @throws PreloaderError CONFIG_INVALID naming the key
 */
export async function readConfig(path: string = DEFAULT_CONFIG_PATH): Promise<Config> {
  let text: string | undefined;
  try {
    text = readTextIfThere(path);
  } catch (error) {
    throw invalid(messageAt(path, error), error);
  }
  // A file that somebody named must be there; the default one need not.
  if (text === undefined && path !== DEFAULT_CONFIG_PATH) throw invalid(`${path}: a configuration file expected, found none`);
  if (text === undefined) return resolved(defaults);
  const { parseConfig } = await import('./config-schema.ts');
  try {
    return resolved(parseConfig(text));
  } catch (error) {
    throw invalid(messageAt(path, error), error);
  }
}

/** The kernel lists mounts without symlinks, and links in the store must lead there whatever becomes of a symlink on the way. */
function resolved(config: Config): Config {
  return { ...config, mountRoot: realPathOf(config.mountRoot) };
}

/**
 * Checks what only shows with the data root known.
 * @throws PreloaderError CONFIG_INVALID: dockerd unmounts whatever lies below its data root when it stops
 */
export function checkMountRoot(config: Config, dataRoot: string): void {
  const real = realPathOf(dataRoot);
  if (`${config.mountRoot}/`.startsWith(`${real}/`)) {
    throw invalid(`\`mountRoot\`: a folder outside of the data root ${real} expected, found ${config.mountRoot}`);
  }
}

function invalid(message: string, cause?: unknown): PreloaderError {
  return new PreloaderError('CONFIG_INVALID', message, { cause });
}

/** A label or glob that must be there, perhaps with the digest of its manifest. */
export interface Required {
  readonly pattern: string;
  readonly digest: string | undefined;
}

/** Parses an entry of `required`: `label`, `glob*` or `label@sha256:…`. */
export function parseRequired(text: string): Required | undefined {
  const [pattern = '', digest, ...rest] = text.split('@');
  if (rest.length > 0 || labelPattern(pattern) === undefined) return undefined;
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest)) return undefined;
  return { pattern, digest };
}

/** The runtime directory: status.json, metrics.prom and the boot's time stamps lie beside the socket. */
export function runtimePath(config: Config, name: string): string {
  return join(config.statusSocket, '..', name);
}
