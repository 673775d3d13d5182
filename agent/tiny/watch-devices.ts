import { cString, systemCall } from './libc.ts';
import { closeSync, existsSync, readSync } from './fs.ts';
import { whenReadable } from './loop.ts';
import { TinyBuffer } from './buffer.ts';
import type { DeviceChanges } from '../system/device-changes.ts';

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;
/** Attributes, moves from and to, made, removed (inotify(7)). */
const CHANGES = 0x4 | 0x40 | 0x80 | 0x100 | 0x200;
/** udev's label links, whose folder may come only with the first, or the device nodes where there are none. */
const LINKS = ['/dev/disk', '/dev/disk/by-label'];

/** agent/system/watch-devices.ts by inotify alone. The watch stands when this returns, unless the kernel has no more. */
export async function watchDevices(): Promise<DeviceChanges> {
  // What has come since the last look, and before we watch, was seen by nobody.
  let changed = true;
  let wake: () => void = () => undefined;
  const watch = new FolderWatch(existsSync('/dev/disk') ? LINKS : ['/dev'], () => {
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

class FolderWatch {
  #fd: number | undefined;
  #stop: () => void = () => undefined;
  readonly #folders: readonly string[];
  readonly #note: () => void;

  constructor(folders: readonly string[], note: () => void) {
    this.#folders = folders;
    this.#note = note;
    try {
      this.#fd = systemCall('inotify_init1', IN_NONBLOCK | IN_CLOEXEC);
      this.#stop = whenReadable(this.#fd, () => this.#take());
      this.#add();
    } catch {
      // Whoever waits looks more often where no watch stands.
      this.close();
    }
  }

  get stands(): boolean {
    return this.#fd !== undefined;
  }

  close(): void {
    this.#stop();
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  /** A folder that is watched already stays so. */
  #add(): void {
    for (const folder of this.#folders)
      if (existsSync(folder)) systemCall('inotify_add_watch', this.#fd ?? -1, cString(folder), CHANGES);
  }

  /** What it was does not matter: everything is looked at. */
  #take(): void {
    const events = TinyBuffer.alloc(64 * 1024);
    try {
      readSync(this.#fd ?? -1, events, 0, events.length, null);
      this.#add();
    } catch {
      this.close();
    }
    this.#note();
  }
}
