import { isAbsolute, join, normalize } from 'node:path';
import * as z from 'zod/mini';
import { labelPattern } from '../disk/label.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { readTextIfThere } from '../system/files.ts';
import { parseJson } from '../system/parse.ts';

export const DEFAULT_CONFIG_PATH = '/etc/docker-preloader/config.json';

const absolutePath = z.string().check(z.refine((path) => isAbsolute(path), 'an absolute path'), z.overwrite((path) => normalize(path).replace(/(.)\/$/, '$1')));
const label = z.string().check(z.refine((text) => labelPattern(text) !== undefined, 'a label of at most 16 letters, digits, dots, dashes and underscores, or a glob of such'));
const required = z.string().check(
  z.refine((text) => parseRequired(text) !== undefined, 'a label or glob, perhaps with @sha256:<64 hex digits> behind it'),
);

export const configSchema = z.strictObject({
  labels: z._default(z.array(label), ['dpl-*']),
  required: z._default(z.array(required), []),
  deviceTimeoutSec: z._default(z.number().check(z.minimum(0), z.maximum(3600)), 10),
  dockerConfig: z._default(absolutePath, '/etc/docker/daemon.json'),
  dataRoot: z.optional(absolutePath),
  conflicts: z._default(z.enum(['user', 'disk']), 'user'),
  mountRoot: z._default(absolutePath, '/run/docker-preloader/disks'),
  statusSocket: z._default(absolutePath, '/run/docker-preloader/status.sock'),
  removedImages: z._default(z.enum(['restore', 'respect']), 'restore'),
});

/** Our configuration, with defaults filled in. `dataRoot` is undefined where dockerd's own configuration decides. */
export type Config = Readonly<z.infer<typeof configSchema>>;

/** The configuration where there is no file. */
export function defaultConfig(): Config {
  return parseJson('{}', configSchema);
}

/**
 * Reads the configuration; no file means all defaults.
 * @throws PreloaderError CONFIG_INVALID naming the key
 */
export function readConfig(path: string = DEFAULT_CONFIG_PATH): Config {
  let text: string | undefined;
  try {
    text = readTextIfThere(path);
  } catch (error) {
    throw invalid(`${path}: cannot be read: ${messageOf(error)}`, error);
  }
  // A file that somebody named must be there; the default one need not.
  if (text === undefined && path !== DEFAULT_CONFIG_PATH) throw invalid(`${path}: a configuration file expected, found none`);
  try {
    return parseJson(text ?? '{}', configSchema);
  } catch (error) {
    throw invalid(`${path}: ${messageOf(error)}`, error);
  }
}

/**
 * Checks what only shows with the data root known.
 * @throws PreloaderError CONFIG_INVALID: dockerd unmounts whatever lies below its data root when it stops
 */
export function checkMountRoot(config: Config, dataRoot: string): void {
  if (`${config.mountRoot}/`.startsWith(`${dataRoot}/`)) {
    throw invalid(`\`mountRoot\`: a folder outside of the data root ${dataRoot} expected, found ${config.mountRoot}`);
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
