import { metadataPaths } from '../docker/layer-db.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import type { FolderWatch } from '../system/folder-watch.ts';
import { log } from '../system/journal.ts';
import { watchOrPollFolders } from '../system/watch-folders.ts';

/** dockerd needs a moment to finish: it removes an image's names, its configuration, and then layer by layer. */
const SETTLE_MS = 200;
/** The least time from one look to the next, however much changes. */
const BETWEEN_MS = 1500;

/** How often to look if changes cannot be watched. */
const POLL_MS = 500;

/**
 * Looks again whenever dockerd has changed the store, or `apply` or `unlink` while dockerd was stopped. dockerd writes
 * each change to these folders at once (moby, reference/store.go, image/fs.go, layer/filestore.go), so they show what
 * it has.
 * @param end aborted when the store is no longer to be followed
 */
export async function followStore(dataRoot: string, look: () => Promise<void>, end?: AbortSignal): Promise<void> {
  const paths = metadataPaths(dataRoot);
  const folders = [paths.root, paths.images, paths.layers];
  // A promise of the end would keep whatever has waited for it.
  let wake: () => void = () => undefined;
  end?.addEventListener('abort', () => wake());
  let isTold = false;
  const watchOrPoll = (): FolderWatch =>
    watchOrPollFolders(folders, POLL_MS, (error) => {
      if (!isTold)
        log(
          'NOT_FOLLOWED',
          `${dataRoot}: dockerd's changes to its store cannot be watched, looking for changes every ${POLL_MS} ms instead: ${messageOf(error)}`,
        );
      isTold = true;
    });
  let watch = watchOrPoll();
  let lookedUsec = -Infinity;
  for (;;) {
    if (end?.aborted !== true)
      await new Promise<void>((resolve) => {
        wake = resolve;
        void watch.changed.then(resolve);
      });
    watch.close();
    if (end?.aborted === true) return;
    await delay(Math.max(SETTLE_MS, BETWEEN_MS - (monotonicUsec() - lookedUsec) / 1000));
    // Watching starts again before the look, so that changes during it cause another look.
    watch = watchOrPoll();
    lookedUsec = monotonicUsec();
    try {
      await look();
    } catch (error) {
      log(
        'NOT_FOLLOWED',
        `${dataRoot}: dockerd's changes to its store could not be looked at, ignoring: ${messageOf(error)}`,
      );
    }
  }
}
