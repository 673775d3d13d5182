import { systemCall } from './libc.ts';

const SYNC_FILE_RANGE_WRITE = 2;

/**
 * Has a file's content go to its disk, and does not wait for it. Whoever then waits for anything on that filesystem
 * waits for this, too, and to fsync the file takes next to nothing: ext4 commits both at once. Where that cannot be
 * done, nothing is lost but time.
 */
export function startWriting(fd: number): void {
  try {
    systemCall('sync_file_range', fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  } catch {
    // See above.
  }
}
