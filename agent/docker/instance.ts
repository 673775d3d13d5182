import { lstatSync } from 'node:fs';
import { readTextIfThere } from '../system/files.ts';

/**
 * Which dockerd runs on a data root, by the flock that it holds as long as it does (see isDockerRunning). Only looks: to try
 * for the lock every second could be in the way of a dockerd that starts.
 * @returns its process ID, or undefined where none runs
 */
export function dockerInstance(dataRoot: string): string | undefined {
  const inode = lstatSync(`${dataRoot}/volumes/metadata.db`, { throwIfNoEntry: false })?.ino;
  if (inode === undefined) return undefined;
  // `1: FLOCK  ADVISORY  WRITE 1234 fe:00:3145 0 EOF`. The device's number is not that of stat(2) on btrfs.
  const holder = new RegExp(`^\\d+: FLOCK +ADVISORY +WRITE (\\d+) [0-9a-f]+:[0-9a-f]+:${inode} `, 'm');
  return holder.exec(readTextIfThere('/proc/locks') ?? '')?.[1];
}
