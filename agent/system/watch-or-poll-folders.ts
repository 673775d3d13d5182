import { every } from './clock.ts';
import { timesOf } from './describe-folders.ts';
import type { FolderWatch } from './folder-watch.ts';
import { watchFolders } from './watch-folders.ts';

/** Watches folders, or looks at them now and then if they cannot be watched. @param tell is called with the reason */
export function watchOrPollFolders(
  folders: readonly string[],
  everyMs: number,
  tell: (error: unknown) => void = () => undefined,
): FolderWatch {
  try {
    return watchFolders(folders);
  } catch (error) {
    tell(error);
    return pollFolders(folders, everyMs);
  }
}

/**
 * The same by looking now and then. Whenever a name appears, disappears or is replaced, the time of its folder changes.
 */
export function pollFolders(folders: readonly string[], everyMs: number): FolderWatch {
  const first = timesOf(folders);
  let cancel: () => void = () => undefined;
  const changed = new Promise<void>((resolve) => {
    cancel = every(everyMs, () => {
      if (timesOf(folders) === first) return;
      cancel();
      resolve();
    });
  });
  return { changed, close: cancel };
}
