import type { ImageBytes } from './image-bytes.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { MAX_FOLDER_BYTES } from './limits.ts';

/** What an inode says of itself, whatever the filesystem. */
export interface InodeFacts {
  /** Type and permissions, as st_mode has them. */
  readonly mode: number;
  readonly size: number;
}

const TYPE_BITS = 0o170000;
const FOLDER = 0o040000;
const FILE = 0o100000;

/**
 * A disk that is not mounted: finds what a path names, folder by folder. What an inode and a folder look like, the
 * filesystem knows.
 */
export abstract class InodeReader<Inode extends InodeFacts> implements FilesystemReader {
  protected readonly bytes: ImageBytes;
  readonly #sizeBytes: number;
  readonly #folders = new Map<number, ReadonlyMap<string, number>>();

  /** @param sizeBytes the filesystem's */
  constructor(bytes: ImageBytes, sizeBytes: number) {
    this.bytes = bytes;
    this.#sizeBytes = sizeBytes;
  }

  /** The number of the root's inode. */
  protected abstract readonly root: number;
  /** @throws Error where it is damaged */
  protected abstract inode(number: number): Inode;
  /** What an inode holds, from `start` on and before `end`. @throws Error where it is damaged */
  protected abstract content(inode: Inode, start?: number, end?: number): Generator<Buffer>;
  /** The inodes' numbers by name of a folder's content, without `.` and `..`. @throws Error where it is damaged */
  protected abstract entries(content: Buffer): ReadonlyMap<string, number>;

  capacity(): number {
    return this.#sizeBytes;
  }

  pathOf(path: string): string {
    return path;
  }

  kindOf(path: string): ReturnType<FilesystemReader['kindOf']> {
    const inode = this.#inodeAt(path);
    return inode === undefined ? undefined : isFile(inode) ? 'file' : isFolder(inode) ? 'folder' : 'other';
  }

  list(path: string): string[] {
    const number = this.#find(path);
    return number === undefined ? [] : [...(this.#folder(number)?.keys() ?? [])].sort();
  }

  subfolders(path: string): string[] {
    const number = this.#find(path);
    const entries = number === undefined ? undefined : this.#folder(number);
    return [...(entries ?? [])].flatMap(([name, inode]) => (isFolder(this.inode(inode)) ? [name] : []));
  }

  sizeOf(path: string): number | undefined {
    return this.#fileAt(path)?.size;
  }

  read(path: string, limitBytes: number): Buffer | undefined {
    const inode = this.#fileAt(path);
    if (inode === undefined) return undefined;
    if (inode.size > limitBytes) throw new Error(`${path}: expected at most ${limitBytes} bytes, found ${inode.size}`);
    return Buffer.concat([...this.content(inode)]);
  }

  *pieces(path: string, start = 0, end?: number): Generator<Buffer> {
    const inode = this.#fileAt(path);
    if (inode === undefined) throw new Error(`${path}: expected a regular file, found none`);
    yield* this.content(inode, start, end);
  }

  close(): void {
    this.bytes.close();
  }

  #inodeAt(path: string): Inode | undefined {
    const number = this.#find(path);
    return number === undefined ? undefined : this.inode(number);
  }

  #fileAt(path: string): Inode | undefined {
    const inode = this.#inodeAt(path);
    if (inode !== undefined && !isFile(inode))
      throw new Error(`${path}: expected a regular file, found something else`);
    return inode;
  }

  #find(path: string): number | undefined {
    let number = this.root;
    for (const name of path.split('/')) {
      if (name === '' || name === '.') continue;
      const next = this.#folder(number)?.get(name);
      if (next === undefined) return undefined;
      number = next;
    }
    return number;
  }

  /** What is in a folder, undefined where the inode is none. */
  #folder(number: number): ReadonlyMap<string, number> | undefined {
    const known = this.#folders.get(number);
    if (known !== undefined) return known;
    const inode = this.inode(number);
    if (!isFolder(inode)) return undefined;
    const limit = Math.min(MAX_FOLDER_BYTES, this.bytes.sizeBytes);
    if (inode.size > limit) throw new Error(`expected a folder of at most ${limit} bytes, found one of ${inode.size}`);
    const entries = this.entries(Buffer.concat([...this.content(inode)]));
    this.#folders.set(number, entries);
    return entries;
  }
}

function isFile({ mode }: InodeFacts): boolean {
  return (mode & TYPE_BITS) === FILE;
}

function isFolder({ mode }: InodeFacts): boolean {
  return (mode & TYPE_BITS) === FOLDER;
}
