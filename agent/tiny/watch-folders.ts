import { existsSync } from './fs.ts';
import { basename, dirname, join } from './path.ts';
import { isENOENT } from '../system/errors.ts';
import type { FolderWatch } from '../system/folder-watch.ts';
import { Inotify } from './inotify.ts';

/** agent/system/watch-folders.ts by inotify alone. @throws system errors, as `Inotify` */
export function watchFolders(folders: readonly string[]): FolderWatch {
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

/** Calls `act` at each change, as long as this process runs. @throws system errors, as `Inotify` */
export function followFolder(folder: string, act: () => void): void {
  new Inotify(act).add(folder);
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
