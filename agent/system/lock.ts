import { closeSync, constants, lstatSync, openSync, type Stats } from 'node:fs';
import { deviceNumberOf } from './block-devices.ts';
import { isENOENT, isENOTDIR, isEWOULDBLOCK } from './errors.ts';
import { readTextIfThere } from './read-files.ts';
import { systemCall } from './libc.ts';

const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Whether another process holds a flock(2) on the file. It is tested without waiting, and released at once. False if
 * the file does not exist.
 */
export function isFileLocked(path: string): boolean {
  const lock = tryLock(path, constants.O_RDONLY);
  if (lock === 'held') return true;
  lock?.release();
  return false;
}

/**
 * Who holds a flock(2) on a file. It reads the kernel's list of locks. If it tried to take the lock, it could be in the
 * way of a daemon that starts.
 * @returns a process ID, or undefined if nobody holds it
 */
export function lockHolder(path: string): string | undefined {
  const stats = statsIfThere(path);
  if (stats === undefined) return undefined;
  // A line is `1: FLOCK  ADVISORY  WRITE 1234 fe:00:3145 0 EOF`.
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
  // On btrfs the number of the device is not that of stat(2). So this may be a file with the same inode number
  // elsewhere.
  return holders.length > 0 && isFileLocked(path) ? holders[0]?.[1] : undefined;
}

function statsIfThere(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return undefined;
    throw error;
  }
}

export interface Lock {
  release(): void;
}

/**
 * Takes the flock on a file, which is created if needed, or says that another process holds it. The lock also ends with
 * the process.
 */
export function tryLockFile(path: string): Lock | 'held' {
  return tryLock(path, constants.O_RDWR | constants.O_CREAT) ?? 'held';
}

function tryLock(path: string, flags: number): Lock | 'held' | undefined {
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (isENOENT(error)) return undefined;
    throw error;
  }
  try {
    systemCall('flock', fd, LOCK_EX | LOCK_NB);
  } catch (error) {
    closeSync(fd);
    if (isEWOULDBLOCK(error)) return 'held';
    throw error;
  }
  return { release: () => closeSync(fd) };
}
