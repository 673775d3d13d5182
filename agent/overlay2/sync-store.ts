import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { syncFilesystem } from '../system/sync-filesystem.ts';
import { readLedger, writeLedger } from './store/ledger.ts';
import { takeLock } from './store-lock.ts';

/**
 * Waits until what was written to the data root has reached its disk, and then notes that in the ledger. Files that can
 * be derived from a preload disk were written without waiting, and a power cut may have left them empty. So the next
 * run compares their contents until the ledger has this note.
 */
export async function syncStore(dataRoot: string): Promise<void> {
  try {
    const { state, ledger } = readLedger(dataRoot);
    if (state !== 'read' || ledger.synced || ledger.next !== undefined) return;
    const lock = await takeLock(dataRoot);
    try {
      syncFilesystem(dataRoot);
      // Another run may have changed the ledger before we had the lock.
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
