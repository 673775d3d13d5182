import { dirname } from 'node:path';
import type { ReadableTree } from './mounted-tree.ts';
import { readSmall, type FilesystemReader } from './filesystem-reader.ts';

/** A disk that is not mounted, as the agent reads the mounted one: by the same rules, so that both find the same. */
export class UnmountedTree implements ReadableTree {
  readonly #files: FilesystemReader;
  readonly #sizeBytes: number;
  readonly #folders = new Map<string, boolean>();

  /** @param sizeBytes the filesystem's size */
  constructor(files: FilesystemReader, sizeBytes: number) {
    this.#files = files;
    this.#sizeBytes = sizeBytes;
  }

  capacity(): number {
    return this.#sizeBytes;
  }

  path(relative: string): string {
    return relative;
  }

  isFolder(relative: string): boolean {
    if (relative === '.') return true;
    const known = this.#folders.get(relative);
    if (known !== undefined) return known;
    const result = this.#files.kindOf(relative) === 'folder';
    this.#folders.set(relative, result);
    return result;
  }

  names(relative: string): string[] {
    return this.#files
      .list(relative)
      .map((name) => Buffer.from(name, 'latin1').toString('utf8'))
      .toSorted();
  }

  hasNames(relative: string, count: number): boolean {
    const folders = [relative];
    let left = count;
    for (const folder of folders) {
      for (const name of this.#files.list(folder)) {
        left -= 1;
        if (left <= 0) return true;
        if (this.#files.kindOf(`${folder}/${name}`) === 'folder') folders.push(`${folder}/${name}`);
      }
    }
    return false;
  }

  read(relative: string, limitBytes: number): Buffer | undefined {
    return this.sizeOf(relative) === undefined ? undefined : readSmall(this.#files, relative, limitBytes);
  }

  readText(relative: string, limitBytes: number): string | undefined {
    return this.read(relative, limitBytes)?.toString('utf8');
  }

  sizeOf(relative: string): number | undefined {
    const kind = this.isFolder(dirname(relative)) ? this.#files.kindOf(relative) : undefined;
    if (kind !== undefined && kind !== 'file')
      throw new Error(`${relative}: expected a regular file, found something else`);
    return this.#files.sizeOf(relative);
  }
}
