import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { syncFilesystem } from '../system/sync-filesystem.ts';
import { readLedger, writeLedger } from './store/ledger.ts';
import { takeLock } from './store-lock.ts';

/**
 * Waits until what was written to the data root has reached its disk, and notes that in the ledger. Files that derive
 * from a preload disk were written without waiting; until this mark is there, the next run compares their contents, for
 * a power cut may have left them empty. Only a durable ledger may say so, hence the order.
 */
export async function syncStore(dataRoot: string): Promise<void> {
  try {
    const { state, ledger } = readLedger(dataRoot);
    if (state !== 'read' || ledger.synced || ledger.next !== undefined) return;
    const lock = await takeLock(dataRoot);
    try {
      syncFilesystem(dataRoot);
      // Under the lock the ledger is still the one that was read.
      const now = readLedger(dataRoot);
      if (now.state === 'read' && now.ledger.next === undefined) writeLedger(dataRoot, { ...now.ledger, synced: true });
    } finally {
      lock.release();
    }
  } catch (error) {
    log(
      'NOT_SYNCED',
      `${dataRoot}: the store could not be synced, so the next start compares contents, ignoring: ${messageOf(error)}`,
    );
  }
}
