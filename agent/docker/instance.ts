import { lstatSync } from 'node:fs';
import { PreloaderError } from '../system/errors.ts';
import { isFileLocked, lockHolder } from '../system/lock.ts';

/**
 * Whether a dockerd runs on this data root. While it runs, it holds a flock on the volumes' database (moby,
 * volume/service/db.go; bbolt).
 */
export function isDockerRunning(dataRoot: string): boolean {
  return isFileLocked(volumes(dataRoot));
}

/**
 * When a dockerd was last started on this data root. It writes to that database at each start (moby,
 * volume/service/store.go, NewStore), before it reads its references. This shows whether one has come and gone since
 * the store was read.
 */
export function lastStarted(dataRoot: string): number | undefined {
  return lstatSync(volumes(dataRoot), { throwIfNoEntry: false })?.mtimeMs;
}

/** dockerd was started after the store was read for a plan, and may have changed the store since. */
export class DockerStarted extends PreloaderError {
  constructor(dataRoot: string) {
    super('DOCKER_RUNNING', `${dataRoot}: dockerd was started while the store was changed; stop it, and try again`);
  }
}

/**
 * Which dockerd runs on a data root, by the flock that it holds (see isDockerRunning). It reads the kernel's list of
 * locks. If it tried to take the lock every second, it could be in the way of a dockerd that starts.
 * @returns its process ID, or undefined if none runs
 */
export function dockerInstance(dataRoot: string): string | undefined {
  return lockHolder(volumes(dataRoot));
}

const volumes = (dataRoot: string): string => `${dataRoot}/volumes/metadata.db`;
