import { join } from 'node:path';
import { delay, monotonicUsec } from '../system/clock.ts';
import { isENOSPC, messageOf, PreloaderError } from '../system/errors.ts';
import { ensureFolder } from '../system/write-files.ts';
import { tryLockFile, type Lock } from '../system/lock.ts';
import { notifyStatus } from '../system/notify.ts';
import { ledgerFolder } from './store/ledger.ts';

/** If another agent is not done within this time, something is wrong with it. */
const LOCK_TIMEOUT_USEC = 30_000_000;
const LOCK_POLL_MS = 20;

export interface LockOptions {
  readonly timeoutUsec?: number;
  /** The name of the file: each store has its own. */
  readonly name?: string;
}

/**
 * Takes the lock on a store, by which one of two agents works and the other waits.
 * @throws PreloaderError LOCKED, STORE_WRITE, STORE_FULL
 */
export async function takeLock(
  dataRoot: string,
  { timeoutUsec = LOCK_TIMEOUT_USEC, name = 'lock' }: LockOptions = {},
): Promise<Lock> {
  const folder = ledgerFolder(dataRoot);
  try {
    ensureFolder(dataRoot, 0o710);
    ensureFolder(folder, 0o700);
  } catch (error) {
    if (isENOSPC(error))
      throw new PreloaderError(
        'STORE_FULL',
        `${folder}: expected a folder, found no room for one: nothing was changed; free some, then run: systemctl restart docker`,
        { cause: error },
      );
    throw new PreloaderError(
      'STORE_WRITE',
      `${dataRoot}: expected a data root that can be written to: ${messageOf(error)}`,
      { cause: error },
    );
  }
  const deadline = monotonicUsec() + timeoutUsec;
  for (;;) {
    const lock = tryLockFile(join(folder, name));
    if (lock !== 'held') return lock;
    if (monotonicUsec() > deadline)
      throw new PreloaderError(
        'LOCKED',
        `${join(folder, name)}: held by another docker-preloader for ${timeoutUsec / 1_000_000} s; look for one that hangs`,
      );
    notifyStatus('waiting for another docker-preloader');
    await delay(LOCK_POLL_MS);
  }
}
