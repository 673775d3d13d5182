import { metadataPaths } from '../docker/layer-db.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { whichAre } from '../system/describe-folders.ts';
import { messageOf } from '../system/errors.ts';
import type { FolderWatch } from '../system/folder-watch.ts';
import { log } from '../system/journal.ts';
import { watchOrPollFolders } from '../system/watch-or-poll-folders.ts';

/** dockerd needs a moment to finish: it removes an image's names, its configuration, and then layer by layer. */
const SETTLE_MS = 200;
/** The least time from one look to the next, however much changes. */
const BETWEEN_MS = 1500;

/** How often to look if changes cannot be watched. */
const POLL_MS = 500;

/** A store that is followed. */
export interface FollowedStore {
  /**
   * Looks whether another store has taken the place of this one: what is mounted over a folder, or moved to where it was,
   * is nothing that happens in the folder that is watched.
   */
  check(): void;
  /** It is no longer to be followed. */
  end(): void;
  /** Resolves when it is no longer followed. */
  readonly over: Promise<void>;
}

/**
 * Looks again whenever dockerd has changed the store, or `apply` or `unlink` while dockerd was stopped. dockerd writes
 * each change to these folders at once (moby, reference/store.go, image/fs.go, layer/filestore.go), so they show what
 * it has.
 */
export function followStore(dataRoot: string, look: () => Promise<void>): FollowedStore {
  const paths = metadataPaths(dataRoot);
  const folders = [paths.root, paths.images, paths.layers];
  let isOver = false;
  let isTold = false;
  let watched = '';
  const watchOrPoll = (): FolderWatch => {
    watched = whichAre(folders);
    return watchOrPollFolders(folders, POLL_MS, (error) => {
      if (!isTold)
        log(
          'NOT_FOLLOWED',
          `${dataRoot}: dockerd's changes to its store cannot be watched, looking for changes every ${POLL_MS} ms instead: ${messageOf(error)}`,
        );
      isTold = true;
    });
  };
  // A promise of the end would keep whatever has waited for it.
  let wake: () => void = () => undefined;
  const follow = async (): Promise<void> => {
    let watch = watchOrPoll();
    let lookedUsec = -Infinity;
    for (;;) {
      if (!isOver && whichAre(folders) === watched)
        await new Promise<void>((resolve) => {
          wake = resolve;
          void watch.changed.then(resolve);
        });
      watch.close();
      if (isOver) return;
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
  };
  return {
    over: follow(),
    check: () => {
      if (whichAre(folders) !== watched) wake();
    },
    end: () => {
      isOver = true;
      wake();
    },
  };
}
