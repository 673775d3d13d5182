import type { ImageBytes } from './image-bytes.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { MAX_FOLDER_BYTES } from './limits.ts';

/** What an inode has in each filesystem. */
export interface InodeFacts {
  /** The type and permissions, as in st_mode. */
  readonly mode: number;
  readonly size: number;
}

const TYPE_BITS = 0o170000;
const FOLDER = 0o040000;
const FILE = 0o100000;

/**
 * Reads a disk that is not mounted. It finds what a path names, folder by folder. What inodes and folders look like is
 * known to the class for the filesystem.
 */
export abstract class InodeReader<Inode extends InodeFacts> implements FilesystemReader {
  protected readonly bytes: ImageBytes;
  readonly #sizeBytes: number;
  readonly #folders = new Map<number, ReadonlyMap<string, number>>();

  /** @param sizeBytes of the filesystem */
  constructor(bytes: ImageBytes, sizeBytes: number) {
    this.bytes = bytes;
    this.#sizeBytes = sizeBytes;
  }

  /** The inode number of the root. */
  protected abstract readonly root: number;
  /** @throws Error if it is damaged */
  protected abstract inode(number: number): Inode;
  /** The content of an inode from `start` to before `end`. @throws Error if it is damaged */
  protected abstract content(inode: Inode, start?: number, end?: number): Generator<Buffer>;
  /** The inode numbers in a folder's content, by name, without `.` and `..`. @throws Error if it is damaged */
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

  /** The inode numbers in a folder by name. Undefined if the inode is no folder. */
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
