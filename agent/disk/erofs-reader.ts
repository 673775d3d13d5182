import type { ImageBytes } from './image-bytes.ts';
import type { FilesystemReader } from './filesystem-reader.ts';

const MAX_FOLDER_BYTES = 256 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const DIRENT_BYTES = 12;

interface Inode {
  readonly mode: number;
  readonly size: number;
  readonly layout: number;
  readonly block: number;
  /** Where what is stored behind the inode begins. */
  readonly tailAt: number;
}

/** Reads erofs as far as it is not compressed (fs/erofs/erofs_fs.h): what `build` writes, and mkfs.erofs without -z. */
export class ErofsReader implements FilesystemReader {
  readonly #bytes: ImageBytes;
  readonly #blockBytes: number;
  readonly #area: number;
  readonly #root: number;
  readonly #folders = new Map<number, Map<string, number>>();

  constructor(bytes: ImageBytes) {
    this.#bytes = bytes;
    const superblock = bytes.read(1024, 128);
    this.#blockBytes = 2 ** superblock.readUInt8(12);
    this.#root = superblock.readUInt16LE(14);
    this.#area = superblock.readUInt32LE(40) * this.#blockBytes;
  }

  kindOf(path: string): ReturnType<FilesystemReader['kindOf']> {
    const nid = this.#find(path);
    if (nid === undefined) return undefined;
    const type = this.#inode(nid).mode & 0o170000;
    return type === 0o100000 ? 'file' : type === 0o040000 ? 'folder' : 'other';
  }

  list(path: string): string[] {
    const nid = this.#find(path);
    return nid === undefined ? [] : [...(this.#folder(nid)?.keys() ?? [])].sort();
  }

  sizeOf(path: string): number | undefined {
    const inode = this.#file(path);
    return inode?.size;
  }

  *pieces(path: string, start = 0, end?: number): Generator<Buffer> {
    const inode = this.#file(path);
    if (inode === undefined) throw new Error(`${path}: expected a regular file, found none`);
    yield* this.#content(inode, start, end);
  }

  close(): void {
    this.#bytes.close();
  }

  #file(path: string): Inode | undefined {
    const nid = this.#find(path);
    const inode = nid === undefined ? undefined : this.#inode(nid);
    return inode !== undefined && (inode.mode & 0o170000) === 0o100000 ? inode : undefined;
  }

  #find(path: string): number | undefined {
    let nid = this.#root;
    for (const name of path.split('/')) {
      if (name === '' || name === '.') continue;
      const next = this.#folder(nid)?.get(name);
      if (next === undefined) return undefined;
      nid = next;
    }
    return nid;
  }

  #folder(nid: number): Map<string, number> | undefined {
    const known = this.#folders.get(nid);
    if (known !== undefined) return known;
    const inode = this.#inode(nid);
    if ((inode.mode & 0o170000) !== 0o040000) return undefined;
    const limit = Math.min(MAX_FOLDER_BYTES, this.#bytes.sizeBytes);
    if (inode.size > limit) throw new Error(`a folder of at most ${limit} bytes expected, found one of ${inode.size}`);
    const content = Buffer.concat([...this.#content(inode)]);
    const entries = new Map<string, number>();
    for (let start = 0; start < content.length; start += this.#blockBytes)
      readBlock(content.subarray(start, start + this.#blockBytes), entries);
    this.#folders.set(nid, entries);
    return entries;
  }

  #inode(nid: number): Inode {
    const at = this.#area + nid * 32;
    const bytes = this.#bytes.read(at, 64);
    const format = bytes.readUInt16LE(0);
    const extended = (format & 1) === 1;
    const xattrs = bytes.readUInt16LE(2);
    return {
      mode: bytes.readUInt16LE(4),
      size: extended ? Number(bytes.readBigUInt64LE(8)) : bytes.readUInt32LE(8),
      layout: (format >> 1) & 7,
      block: bytes.readUInt32LE(16),
      tailAt: at + (extended ? 64 : 32) + (xattrs === 0 ? 0 : 12 + (xattrs - 1) * 4),
    };
  }

  *#content({ size, layout, block, tailAt }: Inode, start = 0, end = size): Generator<Buffer> {
    if (layout !== 0 && layout !== 2)
      throw new Error(
        'erofs without compression expected, found a compressed file: inspect the disk where it is mounted',
      );
    const full = layout === 2 ? size - (size % this.#blockBytes) : size;
    // Uncompressed files have no holes.
    if (block * this.#blockBytes + full > this.#bytes.sizeBytes && full > 0)
      throw new Error(
        `a file within its disk expected, found one of ${size} bytes on a disk of ${this.#bytes.sizeBytes}`,
      );
    const last = Math.min(full, end);
    for (let position = start; position < last; position += CHUNK_BYTES)
      yield this.#bytes.read(block * this.#blockBytes + position, Math.min(CHUNK_BYTES, last - position));
    const tail = Math.max(start, full);
    if (tail < end) yield this.#bytes.read(tailAt + tail - full, end - tail);
  }
}

function readBlock(block: Buffer, entries: Map<string, number>): void {
  if (block.length < DIRENT_BYTES) return;
  const count = block.readUInt16LE(8) / DIRENT_BYTES;
  if (!Number.isInteger(count) || count < 1 || count * DIRENT_BYTES > block.length)
    throw new Error('a folder with valid entries expected, found a damaged one');
  for (let index = 0; index < count; index += 1) {
    const start = block.readUInt16LE(index * DIRENT_BYTES + 8);
    const end = index + 1 < count ? block.readUInt16LE((index + 1) * DIRENT_BYTES + 8) : block.length;
    const name = block.toString('latin1', start, end).split('\0', 1)[0] ?? '';
    if (name !== '.' && name !== '..') entries.set(name, Number(block.readBigUInt64LE(index * DIRENT_BYTES)));
  }
}
