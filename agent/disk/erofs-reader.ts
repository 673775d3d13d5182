import type { ImageBytes } from './image-bytes.ts';
import { InodeReader, type InodeFacts } from './inode-reader.ts';

const CHUNK_BYTES = 1024 * 1024;
const DIRENT_BYTES = 12;

interface Inode extends InodeFacts {
  readonly layout: number;
  readonly block: number;
  /** The place of what is stored right behind the inode. */
  readonly tailAt: number;
}

/** Reads an erofs that is not compressed (fs/erofs/erofs_fs.h), as `build` writes it, and mkfs.erofs without -z. */
export class ErofsReader extends InodeReader<Inode> {
  protected override readonly root: number;
  readonly #blockBytes: number;
  readonly #area: number;

  /** @param sizeBytes of the filesystem */
  constructor(bytes: ImageBytes, sizeBytes: number) {
    super(bytes, sizeBytes);
    const superblock = bytes.read(1024, 128);
    this.#blockBytes = 2 ** superblock.readUInt8(12);
    this.root = superblock.readUInt16LE(14);
    this.#area = superblock.readUInt32LE(40) * this.#blockBytes;
  }

  protected override entries(content: Buffer): ReadonlyMap<string, number> {
    const entries = new Map<string, number>();
    for (let start = 0; start < content.length; start += this.#blockBytes)
      readBlock(content.subarray(start, start + this.#blockBytes), entries);
    return entries;
  }

  protected override inode(nid: number): Inode {
    const at = this.#area + nid * 32;
    const bytes = this.bytes.read(at, 64);
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

  protected override *content({ size, layout, block, tailAt }: Inode, start = 0, end = size): Generator<Buffer> {
    if (layout !== 0 && layout !== 2)
      throw new Error(
        'expected erofs without compression, found a compressed file: inspect the disk where it is mounted',
      );
    const full = layout === 2 ? size - (size % this.#blockBytes) : size;
    // Uncompressed files have no holes.
    if (block * this.#blockBytes + full > this.bytes.sizeBytes && full > 0)
      throw new Error(
        `expected a file within its disk, found one of ${size} bytes on a disk of ${this.bytes.sizeBytes}`,
      );
    const last = Math.min(full, end);
    for (let position = start; position < last; position += CHUNK_BYTES)
      yield this.bytes.read(block * this.#blockBytes + position, Math.min(CHUNK_BYTES, last - position));
    const tail = Math.max(start, full);
    if (tail < end) yield this.bytes.read(tailAt + tail - full, end - tail);
  }
}

function readBlock(block: Buffer, entries: Map<string, number>): void {
  if (block.length < DIRENT_BYTES) return;
  const count = block.readUInt16LE(8) / DIRENT_BYTES;
  if (!Number.isInteger(count) || count < 1 || count * DIRENT_BYTES > block.length)
    throw new Error('expected a folder with valid entries, found a damaged one');
  for (let index = 0; index < count; index += 1) {
    const start = block.readUInt16LE(index * DIRENT_BYTES + 8);
    const end = index + 1 < count ? block.readUInt16LE((index + 1) * DIRENT_BYTES + 8) : block.length;
    const name = block.toString('latin1', start, end).split('\0', 1)[0] ?? '';
    if (name !== '.' && name !== '..') entries.set(name, Number(block.readBigUInt64LE(index * DIRENT_BYTES)));
  }
}
