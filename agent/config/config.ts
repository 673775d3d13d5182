import { join } from 'node:path';
import { PreloaderError } from '../system/errors.ts';
import { realPathOf } from '../system/real-path.ts';
import type { RequiredDisk } from './required.ts';

export const DEFAULT_CONFIG_PATH = '/etc/docker-preloader/config.json';

/** Our configuration, with defaults filled in. */
export interface Config {
  readonly labels: readonly string[];
  readonly required: readonly RequiredDisk[];
  readonly deviceTimeoutSec: number;
  /** The daemon ends when it gets no request for this time. 0 means never. */
  readonly idleExitSec: number;
  readonly dockerConfig: string;
  /** `unix://` and the path of dockerd's API. Undefined if dockerd's own configuration decides. */
  readonly dockerHost?: string | undefined;
  /** Undefined if dockerd's own configuration decides. */
  readonly dataRoot?: string | undefined;
  readonly conflicts: 'user' | 'disk';
  /** Without symlinks. */
  readonly mountRoot: string;
  readonly statusSocket: string;
  readonly removedImages: 'restore' | 'respect';
  /**
   * What happens to our images that a prune of the user's takes: they come back within seconds, or as `removedImages`
   * says.
   */
  readonly prunedImages: 'restore' | 'respect';
  /** How much is read ahead after READY at most, in 10^6 bytes. 0 means nothing. */
  readonly readAheadMb: number;
  /** Which store is filled; `auto`: the one that dockerd will use, and any namespace besides Docker's. */
  readonly store: 'auto' | 'overlay2' | 'containerd' | 'both';
  /** Path of containerd's socket. */
  readonly containerdAddress: string;
  /** The root of a containerd that starts only later, such as that of K3s; with its configuration, and its program. */
  readonly containerdRoot?: string | undefined;
  readonly containerdConfig?: string | undefined;
  readonly containerdProgram?: string | undefined;
  /** Of containerd, that get the images. */
  readonly namespaces: readonly string[];
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
  store: 'auto',
  containerdAddress: '/run/containerd/containerd.sock',
  namespaces: ['moby'],
};

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
