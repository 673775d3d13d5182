import { cString, systemCall } from './libc.ts';
import { closeSync, readSync } from './fs.ts';
import { whenReadable } from './loop.ts';
import { TinyBuffer } from './buffer.ts';

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;
/** Written to, attributes, moves from and to, made, removed; of the folder itself, too (inotify(7)). As in libuv. */
const CHANGES = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800;
/** struct inotify_event: watch, mask, cookie, size of the name. */
const HEAD_BYTES = 16;

/**
 * What has changed in a folder: a name, or undefined for the folder itself, or for anything if too much has changed.
 */
export interface FolderChange {
  readonly folder: string;
  readonly name: string | undefined;
}

/** Watches folders by inotify. */
export class Inotify {
  readonly #fd: number;
  readonly #stop: () => void;
  readonly #folders = new Map<number, string>();
  #isOpen = true;

  /** @param take gets what has changed, or undefined if that cannot be told any more @throws system errors */
  constructor(take: (changes: readonly FolderChange[] | undefined) => void) {
    this.#fd = systemCall('inotify_init1', IN_NONBLOCK | IN_CLOEXEC);
    this.#stop = whenReadable(this.#fd, () => take(this.#read()));
  }

  /** A folder that is watched already stays so. @throws system errors */
  add(folder: string): void {
    this.#folders.set(systemCall('inotify_add_watch', this.#fd, cString(folder), CHANGES), folder);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#stop();
    closeSync(this.#fd);
  }

  #read(): readonly FolderChange[] | undefined {
    const events = TinyBuffer.alloc(64 * 1024);
    try {
      return [...this.#parse(events.subarray(0, readSync(this.#fd, events, 0, events.length, null)))];
    } catch {
      return undefined;
    }
  }

  *#parse(events: TinyBuffer): Iterable<FolderChange> {
    for (let at = 0; at + HEAD_BYTES <= events.length;) {
      const folder = this.#folders.get(events.readUInt32LE(at)) ?? '';
      const size = events.readUInt32LE(at + 12);
      const name = events.subarray(at + HEAD_BYTES, at + HEAD_BYTES + size);
      const end = name.indexOf(0);
      yield { folder, name: size === 0 ? undefined : name.toString('utf8', 0, end === -1 ? size : end) };
      at += HEAD_BYTES + size;
    }
  }
}
