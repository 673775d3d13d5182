import { lstatSync } from 'node:fs';
import { deviceNumberOf } from '../system/block-devices.ts';
import { PreloaderError } from '../system/errors.ts';
import { readTextIfThere } from '../system/files.ts';
import { isFileLocked } from '../system/lock.ts';

/**
 * Whether a dockerd runs on this data root: it holds a flock on the volumes' database as long as it does (moby,
 * volume/service/db.go; bbolt).
 */
export function isDockerRunning(dataRoot: string): boolean {
  return isFileLocked(volumes(dataRoot));
}

/**
 * When a dockerd was last started on this data root: it writes to that database each time (moby, volume/service/store.go,
 * NewStore), before it reads its references. It tells whether one has come and gone since the store was read.
 */
export function lastStarted(dataRoot: string): number | undefined {
  return lstatSync(volumes(dataRoot), { throwIfNoEntry: false })?.mtimeMs;
}

/** A plan is for the store as it was read; a dockerd that was started may have changed that since. */
export class DockerStarted extends PreloaderError {
  constructor(dataRoot: string) {
    super('DOCKER_RUNNING', `${dataRoot}: dockerd was started while the store was changed; stop it, and try again`);
  }
}

/**
 * Which dockerd runs on a data root, by the flock that it holds as long as it does (see isDockerRunning). Only looks: to try
 * for the lock every second could be in the way of a dockerd that starts.
 * @returns its process ID, or undefined where none runs
 */
export function dockerInstance(dataRoot: string): string | undefined {
  const stats = lstatSync(volumes(dataRoot), { throwIfNoEntry: false });
  if (stats === undefined) return undefined;
  // `1: FLOCK  ADVISORY  WRITE 1234 fe:00:3145 0 EOF`.
  const holders = [
    ...(readTextIfThere('/proc/locks') ?? '').matchAll(
      new RegExp(`^\\d+: FLOCK +ADVISORY +WRITE (\\d+) ([0-9a-f]+):([0-9a-f]+):${stats.ino} `, 'gm'),
    ),
  ];
  const device = deviceNumberOf(stats.dev);
  const exact = holders.find(
    ([, , major = '', minor = '']) => `${Number.parseInt(major, 16)}:${Number.parseInt(minor, 16)}` === device,
  );
  if (exact !== undefined || !device.startsWith('0:')) return exact?.[1];
  // On btrfs the device's number is not that of stat(2). Another file of this number, in another filesystem, may be locked.
  return holders.length > 0 && isDockerRunning(dataRoot) ? holders[0]?.[1] : undefined;
}

const volumes = (dataRoot: string): string => `${dataRoot}/volumes/metadata.db`;
