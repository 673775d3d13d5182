import type { ImageBytes } from './image-bytes.ts';
import { InodeReader, type InodeFacts } from './inode-reader.ts';

const EXTENTS_FLAG = 0x80000;
const CHUNK_BYTES = 1024 * 1024;
const MAX_DEPTH = 5;

interface Inode extends InodeFacts {
  readonly flags: number;
  /** The inode's i_block. */
  readonly area: Buffer;
}

interface Extent {
  readonly block: number;
  readonly count: number;
  /** Undefined if it is not written yet, and reads as zeros. */
  readonly start: number | undefined;
}

/** Reads an ext4 with extents, whoever made it (fs/ext4/ext4.h, ext4_extents.h). */
export class Ext4Reader extends InodeReader<Inode> {
  protected override readonly root = 2;
  readonly #blockBytes: number;
  readonly #inodesPerGroup: number;
  readonly #inodeBytes: number;
  readonly #descriptorBytes: number;

  /** @param sizeBytes of the filesystem @throws Error if it has features that are not read here */
  constructor(bytes: ImageBytes, sizeBytes: number) {
    super(bytes, sizeBytes);
    const superblock = bytes.read(1024, 1024);
    const INCOMPAT_64BIT = 0x80;
    const INCOMPAT_META_BG = 0x10;
    const incompatible = superblock.readUInt32LE(0x60);
    if ((incompatible & INCOMPAT_META_BG) !== 0) throw new Error('expected ext4 without meta_bg, found one with it');
    this.#blockBytes = 1024 * 2 ** (superblock.readUInt32LE(0x18) & 7);
    this.#inodesPerGroup = superblock.readUInt32LE(0x28);
    this.#inodeBytes = superblock.readUInt16LE(0x58);
    this.#descriptorBytes = (incompatible & INCOMPAT_64BIT) === 0 ? 32 : superblock.readUInt16LE(0xfe);
    if (this.#inodesPerGroup === 0 || this.#inodeBytes < 128 || this.#descriptorBytes < 32)
      throw new Error('expected a valid ext4 superblock, found something else');
  }

  /** Reads a folder from front to back. The blocks of its index look like empty ones. */
  protected override entries(content: Buffer): ReadonlyMap<string, number> {
    const entries = new Map<string, number>();
    for (let offset = 0; offset + 8 <= content.length;) {
      const length = content.readUInt16LE(offset + 4);
      if (length < 8) throw new Error('expected a folder with valid entries, found a damaged one');
      const child = content.readUInt32LE(offset);
      const name = content.toString('latin1', offset + 8, offset + 8 + content.readUInt8(offset + 6));
      if (child !== 0 && name !== '.' && name !== '..') entries.set(name, child);
      offset += length;
    }
    return entries;
  }

  protected override inode(ino: number): Inode {
    const group = Math.floor((ino - 1) / this.#inodesPerGroup);
    const descriptors = this.#blockBytes === 1024 ? 2048 : this.#blockBytes;
    const descriptor = this.bytes.read(descriptors + group * this.#descriptorBytes, this.#descriptorBytes);
    const table =
      descriptor.readUInt32LE(8) + (this.#descriptorBytes >= 64 ? descriptor.readUInt32LE(0x28) * 2 ** 32 : 0);
    const inode = this.bytes.read(
      table * this.#blockBytes + ((ino - 1) % this.#inodesPerGroup) * this.#inodeBytes,
      128,
    );
    return {
      mode: inode.readUInt16LE(0),
      size: inode.readUInt32LE(0x6c) * 2 ** 32 + inode.readUInt32LE(4),
      flags: inode.readUInt32LE(0x20),
      area: inode.subarray(0x28, 0x28 + 60),
    };
  }

  protected override *content(inode: Inode, start = 0, end = inode.size): Generator<Buffer> {
    if ((inode.flags & EXTENTS_FLAG) === 0 && inode.size > 0)
      throw new Error('expected a file with extents, found one without');
    let position = start;
    for (const extent of inode.size === 0 ? [] : this.#extents(inode.area)) {
      const first = extent.block * this.#blockBytes;
      const last = Math.min(first + extent.count * this.#blockBytes, end);
      yield* zeros(Math.min(first, end) - position);
      position = Math.max(position, Math.min(first, end));
      if (extent.start === undefined) yield* zeros(last - position);
      else {
        for (let at = position; at < last; at += CHUNK_BYTES)
          yield this.bytes.read(extent.start * this.#blockBytes + at - first, Math.min(CHUNK_BYTES, last - at));
      }
      position = Math.max(position, last);
      if (position >= end) return;
    }
    yield* zeros(end - position);
  }

  /**
   * The extents in the order of the file, as the kernel wants them (fs/ext4/extents.c, ext4_valid_extent_entries). So
   * none comes twice.
   */
  *#extents(root: Buffer): Generator<Extent> {
    let next = 0;
    for (const extent of this.#extentsOf(root, 0)) {
      if (extent.block < next || extent.count === 0)
        throw new Error('expected an extent tree in order, found a damaged one');
      if (extent.start !== undefined && (extent.start + extent.count) * this.#blockBytes > this.bytes.sizeBytes)
        throw new Error('expected a file within its disk, found one that ends behind it');
      next = extent.block + extent.count;
      yield extent;
    }
  }

  *#extentsOf(node: Buffer, level: number): Generator<Extent> {
    if (node.readUInt16LE(0) !== 0xf30a || level > MAX_DEPTH)
      throw new Error('expected a valid extent tree, found a damaged one');
    const depth = node.readUInt16LE(6);
    const count = Math.min(node.readUInt16LE(2), Math.floor((node.length - 12) / 12));
    if (depth > 0 && count === 0) throw new Error('expected a valid extent tree, found a damaged one');
    for (let index = 0; index < count; index += 1) {
      const entry = node.subarray(12 + index * 12, 24 + index * 12);
      if (depth === 0) {
        const length = entry.readUInt16LE(4);
        const start = entry.readUInt16LE(6) * 2 ** 32 + entry.readUInt32LE(8);
        yield length > 32_768
          ? { block: entry.readUInt32LE(0), count: length - 32_768, start: undefined }
          : { block: entry.readUInt32LE(0), count: length, start };
      } else {
        const child = entry.readUInt16LE(8) * 2 ** 32 + entry.readUInt32LE(4);
        const below = this.bytes.read(child * this.#blockBytes, this.#blockBytes);
        // Many entries could lead to one empty node, and it would be read once for each.
        if (below.readUInt16LE(2) === 0 || below.readUInt16LE(6) !== depth - 1)
          throw new Error('expected a valid extent tree, found a damaged one');
        yield* this.#extentsOf(below, level + 1);
      }
    }
  }
}

function* zeros(count: number): Generator<Buffer> {
  for (let missing = count; missing > 0; missing -= CHUNK_BYTES) yield Buffer.alloc(Math.min(CHUNK_BYTES, missing));
}
