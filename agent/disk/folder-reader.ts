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
import { readUntrusted } from '../system/files.ts';
import { plural } from '../text/plural.ts';
import type { FilesystemReader } from './filesystem-reader.ts';

const CHUNK_BYTES = 1024 * 1024;

/**
 * A disk that is mounted, or a copy of its files in a folder. Each folder on the way to a file is looked at once: it must
 * be a real folder on the filesystem of the root, no symlink and no mount point. A disk is read-only, so what was seen
 * stays so. Each boot waits for this class: a file costs one system call to find and as few as possible to read.
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

  /** As the folder itself says what they are: no name in it is asked for. */
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
    // Nothing is held open.
  }

  /** @param own clean */
  #isFolder(own: string): boolean {
    if (own === '.') return true;
    const known = this.#folders.get(own);
    if (known !== undefined) return known;
    const stats = this.#stats(own);
    const result = stats !== undefined && stats.isDirectory() && stats.dev === this.#device;
    this.#folders.set(own, result);
    return result;
  }

  /** @param own clean @returns undefined also where a folder on the way is none of this disk's */
  #stats(own: string): Stats | undefined {
    return this.#isFolder(dirname(own)) ? lstatSync(this.#bytesOf(own), { throwIfNoEntry: false }) : undefined;
  }

  /** The path for a system call. Nearly all are ASCII, where a text is the faster one. */
  #bytesOf(path: string): string | Buffer {
    if (!/[\u0080-\u00ff]/.test(path)) return this.pathOf(path);
    return Buffer.concat([Buffer.from(`${this.#root}/`), Buffer.from(path, 'latin1')]);
  }
}

/** A name that is empty, `.` or `..`. */
const ODD_NAME = /(?:^|\/)\.{0,2}(?:\/|$)/;

/**
 * The path without names that are empty or `.`: the kernel follows a symlink before a slash. A tar-split names files, too,
 * and may name anything.
 * @returns undefined with `..` in it, which might lead out
 */
function cleanPath(path: string): string | undefined {
  if (!ODD_NAME.test(path)) return path;
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..')) return undefined;
  return names.length === 0 ? '.' : names.join('/');
}
