import { join } from 'node:path';
import { PreloaderError } from '../system/errors.ts';
import { realPathOf } from '../system/real-path.ts';
import { keys } from './keys.ts';
import type { ReadWith } from './kind.ts';

export const DEFAULT_CONFIG_PATH = '/etc/docker-preloader/config.json';

/** Our configuration, with defaults filled in. */
export type Config = ReadWith<typeof keys>;

/** The configuration that says this. @throws Error that names the key, what was expected and what was found */
export function configOf(said: Readonly<Record<string, unknown>>): Config {
  const config = Object.entries(keys).flatMap(([key, { read, otherwise }]) => {
    const value = Object.hasOwn(said, key) ? read(said[key], key) : otherwise;
    return value === undefined ? [] : [[key, value] as const];
  });
  return Object.fromEntries(config) as unknown as Config;
}

const defaults = configOf({});

/** The configuration if there is no file. */
export function defaultConfig(): Config {
  return defaults;
}

/**
 * Checks what can be checked only when the data root is known: the mount root must not be below it, because dockerd
 * unmounts whatever is there when it stops.
 * @throws PreloaderError CONFIG_INVALID
 */
export function checkMountRoot(config: Config, dataRoot: string): void {
  const real = realPathOf(dataRoot);
  if (`${config.mountRoot}/`.startsWith(`${real}/`)) {
    throw configInvalid(`\`mountRoot\`: expected a folder outside of the data root ${real}, found ${config.mountRoot}`);
  }
}

/** The error for a configuration that is refused, with what to correct. */
export function configInvalid(message: string, cause?: unknown): PreloaderError {
  return new PreloaderError('CONFIG_INVALID', message, { cause });
}

/**
 * The path of a file in the runtime folder: status.json, metrics.prom and the boot's time stamps are beside the socket.
 */
export function runtimePath(config: Config, name: string): string {
  return join(config.statusSocket, '..', name);
}
