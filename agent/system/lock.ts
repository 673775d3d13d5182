import { closeSync, constants, openSync } from 'node:fs';
import { isENOENT, isEWOULDBLOCK } from './errors.ts';
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
