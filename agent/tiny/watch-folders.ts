import { existsSync, statSync } from './fs.ts';
import { basename, dirname, join } from './path.ts';
import { every } from '../system/clock.ts';
import { isENOENT, messageOf } from '../system/errors.ts';
import type { FolderWatch } from '../system/folder-watch.ts';
import { Inotify } from './inotify.ts';

/** agent/system/watch-folders.ts by inotify alone. */
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

/** @throws system errors, as `Inotify` */
export function followFolder(folder: string, act: () => void): void {
  new Inotify(act).add(folder);
}

function watchFolders(folders: readonly string[]): FolderWatch {
  let resolve: () => void = () => undefined;
  const changed = new Promise<void>((wake) => (resolve = wake));
  /** For each watched folder the only names that matter, or undefined if all do. */
  const awaited = new Map<string, ReadonlySet<string> | undefined>();
  const watch = new Inotify((changes) => {
    const matters =
      changes?.some(({ folder, name }) => name === undefined || awaited.get(folder)?.has(name) !== false) ?? true;
    if (!matters) return;
    watch.close();
    resolve();
  });
  try {
    for (const folder of folders)
      if (watchNearest(watch, folder, awaited)) {
        watch.close();
        resolve();
        break;
      }
  } catch (error) {
    watch.close();
    throw error;
  }
  return { changed, close: () => watch.close() };
}

/** @returns whether it has come while we looked */
function watchNearest(watch: Inotify, folder: string, awaited: Map<string, ReadonlySet<string> | undefined>): boolean {
  let missing: string | undefined;
  for (let path = folder; ; path = dirname(path)) {
    try {
      watch.add(path);
      const before = awaited.get(path);
      if (missing === undefined || (awaited.has(path) && before === undefined)) awaited.set(path, undefined);
      else awaited.set(path, new Set([...(before ?? []), missing]));
      // It may have appeared between our two looks.
      return missing !== undefined && existsSync(join(path, missing));
    } catch (error) {
      if (!isENOENT(error) || path === dirname(path)) throw error;
      missing = basename(path);
    }
  }
}

/** Whenever a name appears, disappears or is replaced, the time of its folder changes. */
function pollFolders(folders: readonly string[], everyMs: number): FolderWatch {
  const first = describeFolders(folders);
  let cancel: () => void = () => undefined;
  const changed = new Promise<void>((resolve) => {
    cancel = every(everyMs, () => {
      if (describeFolders(folders) === first) return;
      cancel();
      resolve();
    });
  });
  return { changed, close: cancel };
}

function describeFolders(folders: readonly string[]): string {
  return folders
    .map((folder) => {
      try {
        const { ino, ctimeMs } = statSync(folder);
        return `${ino} ${ctimeMs}`;
      } catch (error) {
        return messageOf(error);
      }
    })
    .join(', ');
}
