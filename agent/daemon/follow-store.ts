import { metadataPaths } from '../docker/layer-db.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { watchOrPollFolders, type FolderWatch } from '../system/watch-folders.ts';

/** dockerd goes on for a moment: of an image it removes the names, the configuration, and then layer by layer. */
const SETTLE_MS = 200;
/** From one look to the next, however much changes. */
const BETWEEN_MS = 1500;

/** Where nothing tells of changes. */
const POLL_MS = 500;

/**
 * Looks anew whenever dockerd, or `apply` or `unlink` in its absence, has changed the store. dockerd writes each change
 * through to these folders (moby, reference/store.go, image/fs.go, layer/filestore.go), so they say what it has.
 * @param end when the store is no longer to be followed
 */
export async function followStore(dataRoot: string, look: () => Promise<void>, end?: AbortSignal): Promise<void> {
  const paths = metadataPaths(dataRoot);
  const folders = [paths.root, paths.images, paths.layers];
  const over = new Promise<void>((resolve) => {
    if (end?.aborted === true) resolve();
    end?.addEventListener('abort', () => resolve());
  });
  let isTold = false;
  const watchOrPoll = (): FolderWatch =>
    watchOrPollFolders(folders, POLL_MS, (error) => {
      if (!isTold)
        log(
          'NOT_FOLLOWED',
          `${dataRoot}: what dockerd changes in its store cannot be watched, looking for changes every ${POLL_MS} ms instead: ${messageOf(error)}`,
        );
      isTold = true;
    });
  let watch = watchOrPoll();
  let lookedUsec = -Infinity;
  for (;;) {
    await Promise.race([watch.changed, over]);
    watch.close();
    if (end?.aborted === true) return;
    await delay(Math.max(SETTLE_MS, BETWEEN_MS - (monotonicUsec() - lookedUsec) / 1000));
    // What changes while we look is for the look after this one.
    watch = watchOrPoll();
    lookedUsec = monotonicUsec();
    try {
      await look();
    } catch (error) {
      log(
        'NOT_FOLLOWED',
        `${dataRoot}: what dockerd has changed in its store could not be looked at, ignoring: ${messageOf(error)}`,
      );
    }
  }
}
