import { lstatSync, readdirSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { readUntrusted } from '../system/files.ts';

/** What the agent reads of a disk, mounted or not. */
export interface ReadableTree extends Pick<
  DiskTree,
  'capacity' | 'path' | 'isFolder' | 'names' | 'hasNames' | 'read' | 'readText' | 'sizeOf'
> {
  /** What a file's content must have, where that is known. */
  digestOf?(relative: string): string | undefined;
}

/**
 * A mounted disk as a tree of data from outside. Each folder on the way to a file is checked once: a real folder of the
 * disk's own filesystem, no symlink and no mount point. The filesystem is read-only, so what was checked stays so.
 */
export class DiskTree {
  readonly root: string;
  readonly #device: number;
  readonly #folders = new Map<string, boolean>();

  constructor(root: string) {
    this.root = root;
    this.#device = lstatSync(root).dev;
  }

  /** How much there is room for on its filesystem, in bytes. */
  capacity(): number {
    const { blocks, bsize } = statfsSync(this.root);
    return blocks * bsize;
  }

  /** The path below the root as a path of this machine. */
  path(relative: string): string {
    return `${this.root}/${relative}`;
  }

  /** Whether it is a folder, and each folder above it is, too. */
  isFolder(relative: string): boolean {
    if (relative === '.') return true;
    const known = this.#folders.get(relative);
    if (known !== undefined) return known;
    const result = this.isFolder(dirname(relative)) && this.#isOwnFolder(relative);
    this.#folders.set(relative, result);
    return result;
  }

  #isOwnFolder(relative: string): boolean {
    const stats = lstatSync(this.path(relative), { throwIfNoEntry: false });
    return stats !== undefined && stats.isDirectory() && stats.dev === this.#device;
  }

  /** The names in a folder, sorted; none where it is no folder. @throws system errors of a damaged filesystem */
  names(relative: string): string[] {
    return this.isFolder(relative) ? readdirSync(this.path(relative)).toSorted() : [];
  }

  /** Whether so many names are in a folder and below it; it looks no further than that. @throws system errors */
  hasNames(relative: string, count: number): boolean {
    const folders = this.isFolder(relative) ? [this.path(relative)] : [];
    let left = count;
    for (const folder of folders) {
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        left -= 1;
        if (left <= 0) return true;
        // A name that is no UTF-8 could not be found again.
        if (entry.isDirectory() && !entry.name.includes('\uFFFD')) folders.push(`${folder}/${entry.name}`);
      }
    }
    return false;
  }

  /** A file's bytes, or undefined where there is none. @throws Error where it is no regular file, or too large */
  read(relative: string, limitBytes: number): Buffer | undefined {
    return this.isFolder(dirname(relative)) ? readUntrusted(this.path(relative), limitBytes) : undefined;
  }

  /** The same as text. */
  readText(relative: string, limitBytes: number): string | undefined {
    return this.read(relative, limitBytes)?.toString('utf8');
  }

  /** A file's size in bytes, or undefined where there is none. @throws Error where it is no regular file */
  sizeOf(relative: string): number | undefined {
    if (!this.isFolder(dirname(relative))) return undefined;
    const stats = lstatSync(this.path(relative), { throwIfNoEntry: false });
    if (stats !== undefined && !stats.isFile())
      throw new Error(`${this.path(relative)}: expected a regular file, found something else`);
    return stats?.size;
  }
}
