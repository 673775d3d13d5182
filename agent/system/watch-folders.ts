import { existsSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isENOENT } from './errors.ts';
import type { FolderWatch } from './folder-watch.ts';

/**
 * Watches folders for names that appear, disappear or are replaced. For a folder that does not exist yet, the nearest
 * existing folder above it is watched.
 * @throws system errors, if this user may not watch them or the limit of watches is reached (inotify(7))
 */
export function watchFolders(folders: readonly string[]): FolderWatch {
  const watchers: FSWatcher[] = [];
  let isOver = false;
  let resolve: () => void = () => undefined;
  const changed = new Promise<void>((wake) => {
    resolve = wake;
  });
  const close = (): void => {
    isOver = true;
    for (const watcher of watchers.splice(0)) watcher.close();
  };
  const end = (): void => {
    close();
    resolve();
  };
  try {
    for (const folder of folders) {
      watchers.push(watchNearest(folder, end));
      if (isOver) close();
    }
  } catch (error) {
    close();
    throw error;
  }
  return { changed, close };
}

/**
 * Calls `act` at each change in a folder, for as long as this process runs. @throws system errors, as `watchFolders`
 */
export function followFolder(folder: string, act: () => void): void {
  watch(folder, act).on('error', () => undefined);
}

function watchNearest(folder: string, tell: () => void): FSWatcher {
  let awaited: string | undefined;
  for (let path = folder; ; path = dirname(path)) {
    try {
      const watcher = watchFolder(path, awaited, tell);
      // It may have appeared between our two looks.
      if (awaited !== undefined && existsSync(join(path, awaited))) tell();
      return watcher;
    } catch (error) {
      if (!isENOENT(error) || path === dirname(path)) throw error;
      awaited = basename(path);
    }
  }
}

/** @param awaited the only name that matters; undefined if all do */
function watchFolder(path: string, awaited: string | undefined, tell: () => void): FSWatcher {
  const watcher = watch(path, (_, name) => {
    // When the folder itself is removed, the event has the folder's own name.
    if (awaited === undefined || name === null || name === awaited || name === basename(path)) tell();
  });
  return watcher.on('error', tell);
}
