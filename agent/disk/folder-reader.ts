import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { posix } from 'node:path';
import { plural } from '../text/plural.ts';
import type { FilesystemReader } from './filesystem-reader.ts';

const CHUNK_BYTES = 1024 * 1024;

/** A disk that is mounted, or a copy of its files in a folder. Nothing outside of it is read. */
export class FolderReader implements FilesystemReader {
  readonly #root: string;
  readonly #folders = new Map<string, boolean>();

  constructor(root: string) {
    this.#root = realpathSync(root);
  }

  kindOf(path: string): ReturnType<FilesystemReader['kindOf']> {
    const stats = this.#stats(path);
    return stats === undefined ? undefined : stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other';
  }

  list(path: string): string[] {
    if (this.#stats(path)?.isDirectory() !== true) return [];
    return readdirSync(this.#path(path), { encoding: 'latin1' }).sort();
  }

  sizeOf(path: string): number | undefined {
    const stats = this.#stats(path);
    return stats?.isFile() === true ? stats.size : undefined;
  }

  *pieces(path: string, start = 0, end?: number): Generator<Buffer> {
    if (this.sizeOf(path) === undefined) throw new Error(`${path}: expected a regular file, found none`);
    const fd = openSync(this.#path(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const until = end ?? fstatSync(fd).size;
      for (let position = start; position < until;) {
        const buffer = Buffer.alloc(Math.min(CHUNK_BYTES, until - position));
        const count = readSync(fd, buffer, 0, buffer.length, position);
        if (count === 0) throw new Error(`${path}: ${plural(until - position, 'more byte')} expected, found the end`);
        position += count;
        yield buffer.subarray(0, count);
      }
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    // Nothing is held open.
  }

  /** Undefined also where a folder on the way is a symlink or `..`, which might lead out. */
  #stats(path: string): Stats | undefined {
    // A tar-split names files, too, and may name any.
    if (path.split('/').includes('..')) return undefined;
    if (!this.#isFolder(posix.dirname(path))) return undefined;
    return lstatSync(this.#path(path), { throwIfNoEntry: false });
  }

  #isFolder(path: string): boolean {
    if (path === '.') return true;
    const known = this.#folders.get(path);
    if (known !== undefined) return known;
    const result = this.#stats(path)?.isDirectory() === true;
    this.#folders.set(path, result);
    return result;
  }

  #path(path: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.#root}/`), Buffer.from(path, 'latin1')]);
  }
}
