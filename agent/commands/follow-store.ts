import { metadataPaths } from '../docker/layer-db.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { watchFolders } from '../system/watch-folders.ts';

/** dockerd goes on for a moment: of an image it removes the names, the configuration, and then layer by layer. */
const SETTLE_MS = 200;
/** From one look to the next, however much changes. */
const BETWEEN_MS = 1500;

/**
 * Looks anew whenever dockerd, or `apply` or `unlink` in its absence, has changed the store. dockerd writes each change
 * through to these folders (moby, reference/store.go, image/fs.go, layer/filestore.go), so they say what it has.
 */
export async function followStore(dataRoot: string, look: () => Promise<void>): Promise<void> {
  const paths = metadataPaths(dataRoot);
  const folders = [paths.root, paths.images, paths.layers];
  try {
    let watch = watchFolders(folders);
    let lookedUsec = -Infinity;
    for (;;) {
      await watch.changed;
      await delay(Math.max(SETTLE_MS, BETWEEN_MS - (monotonicUsec() - lookedUsec) / 1000));
      // What changes while we look is for the look after this one.
      watch = watchFolders(folders);
      lookedUsec = monotonicUsec();
      await look();
    }
  } catch (error) {
    log('NOT_FOLLOWED', `${dataRoot}: what dockerd changes in its store is not seen, ignoring: ${messageOf(error)}`);
  }
}
