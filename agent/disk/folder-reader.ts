import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  statfsSync,
  statSync,
  type Stats,
} from 'node:fs';
import { dirname } from 'node:path';
import { readUntrusted } from '../system/read-files.ts';
import { isPlainPath } from '../text/plain-path.ts';
import { plural } from '../text/plural.ts';
import type { FilesystemReader } from './filesystem-reader.ts';

const CHUNK_BYTES = 1024 * 1024;

/**
 * Reads a mounted disk, or a copy of its files in a folder. Each folder on the way to a file is looked at once. It must
 * be a real folder on the filesystem of the root, and no symlink or mount point. That cannot change, because a disk is
 * read-only. Each boot waits for this class, so a file takes one system call to find, and as few as possible to read.
 */
export class FolderReader implements FilesystemReader {
  readonly #root: string;
  readonly #device: number;
  readonly #folders = new Map<string, boolean>();

  /** @param root a folder, or a symlink to one @throws system errors */
  constructor(root: string) {
    this.#root = root;
    this.#device = statSync(root).dev;
  }

  capacity(): number {
    const { blocks, bsize } = statfsSync(this.#root);
    return blocks * bsize;
  }

  pathOf(path: string): string {
    return `${this.#root}/${path}`;
  }

  kindOf(path: string): ReturnType<FilesystemReader['kindOf']> {
    const own = cleanPath(path);
    if (own === undefined) return undefined;
    if (this.#isFolder(own)) return 'folder';
    const stats = this.#stats(own);
    return stats === undefined ? undefined : stats.isFile() ? 'file' : 'other';
  }

  list(path: string): string[] {
    const own = cleanPath(path);
    if (own === undefined || !this.#isFolder(own)) return [];
    return readdirSync(this.#bytesOf(own), { encoding: 'latin1' }).sort();
  }

  /** The folder itself tells which names are folders, so that none has to be looked at. */
  subfolders(path: string): string[] {
    const own = cleanPath(path);
    if (own === undefined || !this.#isFolder(own)) return [];
    const entries = readdirSync(this.#bytesOf(own), { encoding: 'latin1', withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  }

  sizeOf(path: string): number | undefined {
    const own = cleanPath(path);
    const stats = own === undefined ? undefined : this.#stats(own);
    if (stats !== undefined && !stats.isFile())
      throw new Error(`${this.pathOf(path)}: expected a regular file, found something else`);
    return stats?.size;
  }

  read(path: string, limitBytes: number): Buffer | undefined {
    const own = cleanPath(path);
    if (own === undefined || !this.#isFolder(dirname(own))) return undefined;
    return readUntrusted(this.#bytesOf(own), limitBytes);
  }

  *pieces(path: string, start = 0, end?: number): Generator<Buffer> {
    if (this.sizeOf(path) === undefined) throw new Error(`${path}: expected a regular file, found none`);
    const fd = openSync(this.#bytesOf(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const until = end ?? fstatSync(fd).size;
      for (let position = start; position < until;) {
        const buffer = Buffer.alloc(Math.min(CHUNK_BYTES, until - position));
        const count = readSync(fd, buffer, 0, buffer.length, position);
        if (count === 0) throw new Error(`${path}: expected ${plural(until - position, 'more byte')}, found the end`);
        position += count;
        yield buffer.subarray(0, count);
      }
    } finally {
      closeSync(fd);
    }
  }

  close(): void {
    // No file is kept open.
  }

  /** @param own a path as `cleanPath` gives it */
  #isFolder(own: string): boolean {
    if (own === '.') return true;
    const known = this.#folders.get(own);
    if (known !== undefined) return known;
    const stats = this.#stats(own);
    const result = stats !== undefined && stats.isDirectory() && stats.dev === this.#device;
    this.#folders.set(own, result);
    return result;
  }

  /**
   * @param own a path as `cleanPath` gives it
   * @returns undefined also if a folder on the way does not belong to this
   * disk
   */
  #stats(own: string): Stats | undefined {
    return this.#isFolder(dirname(own)) ? lstatSync(this.#bytesOf(own), { throwIfNoEntry: false }) : undefined;
  }

  /** The path for a system call. Nearly all are ASCII, for which a string is faster than bytes. */
  #bytesOf(path: string): string | Buffer {
    if (isPlainPath(path) || !/[\u0080-\u00ff]/.test(path)) return this.pathOf(path);
    return Buffer.concat([Buffer.from(`${this.#root}/`), Buffer.from(path, 'latin1')]);
  }
}

/**
 * The path without names that are empty or `.`, because the kernel follows a symlink that has a slash behind it. Paths
 * also come from tar-splits, which may have anything in them.
 * @returns undefined if `..` is in it, which might lead out of the disk
 */
function cleanPath(path: string): string | undefined {
  if (isPlainPath(path) && !path.startsWith('/')) return path;
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) return undefined;
  return names.length === 0 ? '.' : names.join('/');
}
