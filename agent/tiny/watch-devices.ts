import { existsSync } from './fs.ts';
import type { DeviceChanges } from '../system/device-changes.ts';
import { Inotify, type FolderChange } from './inotify.ts';

/** udev's label links, whose folder may come only with the first, or the device nodes where there are none. */
const LINKS = ['/dev/disk', '/dev/disk/by-label'];

/** agent/system/watch-devices.ts by inotify alone. The watch stands when this returns, unless the kernel has no more. */
export async function watchDevices(): Promise<DeviceChanges> {
  // What has come since the last look, and before we watch, was seen by nobody.
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
      // Whoever waits looks more often where no watch stands.
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

  /** What it was does not matter: everything is looked at. */
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
