import { systemCall } from './libc.ts';

export const PAGE_BYTES = 4096;
const POSIX_FADV_WILLNEED = 3;

/**
 * Asks for a part of a file to be read into the page cache. It waits only if the device's queue is full.
 * @throws Error with the error's number
 */
export function willNeed(fd: number, offset: number, length: number): void {
  const error = systemCall('posix_fadvise', fd, offset, length, POSIX_FADV_WILLNEED);
  if (error !== 0) throw new Error(`posix_fadvise failed with error ${error}`);
}
