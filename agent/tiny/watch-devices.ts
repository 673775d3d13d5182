import { existsSync } from './fs.ts';
import type { DeviceChanges } from '../system/device-changes.ts';
import { Inotify, type FolderChange } from './inotify.ts';

/** udev's links by label, whose folder may come only with the first link. Without udev, the device nodes. */
const LINKS = ['/dev/disk', '/dev/disk/by-label'];

/**
 * agent/system/watch-devices.ts by inotify alone. The watch stands when this returns, unless the kernel has no more.
 */
export async function watchDevices(): Promise<DeviceChanges> {
  // Nobody has seen what has come since the last look and before the watch stood.
  let changed = true;
  let wake: () => void = () => undefined;
  const watch = new DeviceWatch(existsSync('/dev/disk') ? LINKS : ['/dev'], () => {
    changed = true;
    wake();
  });
  return {
    isReady: () => watch.stands,
    ready: () => Promise.resolve(),
    next: async () => {
      if (!changed)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      changed = false;
    },
    close: () => watch.close(),
  };
}

class DeviceWatch {
  #watch: Inotify | undefined;
  readonly #folders: readonly string[];
  readonly #note: () => void;

  constructor(folders: readonly string[], note: () => void) {
    this.#folders = folders;
    this.#note = note;
    try {
      this.#watch = new Inotify((changes) => this.#take(changes));
      this.#add();
    } catch {
      // Without a watch, whoever waits looks more often.
      this.close();
    }
  }

  get stands(): boolean {
    return this.#watch !== undefined;
  }

  close(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  #add(): void {
    for (const folder of this.#folders) if (existsSync(folder)) this.#watch?.add(folder);
  }

  /** What has changed does not matter, because everything is looked at. */
  #take(changes: readonly FolderChange[] | undefined): void {
    try {
      if (changes === undefined) this.close();
      else this.#add();
    } catch {
      this.close();
    }
    this.#note();
  }
}
