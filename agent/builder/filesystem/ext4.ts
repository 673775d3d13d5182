import { printable } from '../../text/printable.ts';
import { BLOCK_BYTES, type BlockWriter } from './block-writer.ts';
import { folderContent } from './ext4-folder.ts';
import {
  arrange,
  BLOCKS_PER_GROUP,
  DESCRIPTOR_BLOCKS,
  DESCRIPTOR_BYTES,
  FIRST_FREE_INO,
  INODE_BYTES,
  INODES_PER_BLOCK,
  MAX_BYTES,
  superblock,
} from './ext4-layout.ts';
import { encodeXattrs } from './ext4-xattrs.ts';
import {
  encodeDevice,
  typeBits,
  type Filesystem,
  type FilesystemOptions,
  type FilesystemWriter,
} from './filesystem.ts';
import type { Spool } from '../../streams/spool.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';
import { ownedByRoot, type Inode } from '../inodes/inode.ts';
import { messageOf } from '../../system/errors.ts';

const DATA_START = 1 + DESCRIPTOR_BLOCKS;
const ROOT_INO = 2;
const LOST_AND_FOUND_INO = 11;
const MAX_LINKS = 65_000;
const MAX_EXTENT_BLOCKS = 32_768;
const EXTENTS_FLAG = 0x80000;
const INDEX_FLAG = 0x1000;
/** Entries of an extent block: 12 bytes each, behind a header of 12. */
const EXTENTS_PER_BLOCK = 340;

/**
 * Writes ext4 from front to back, without mke2fs: first contents, then folders, then bitmaps and inode tables, which
 * may be anywhere thanks to flex_bg, and last the superblock. So nothing is staged, root is not needed, times are kept
 * to the nanosecond, and the same content gives the same bytes. There is no journal, no checksum and no backup
 * superblock (sparse_super2), because the disk is never written to. Every feature is older than Linux 3.16.
 */
export const ext4: Filesystem = {
  blockBytes: BLOCK_BYTES,
  maxBytes: MAX_BYTES,
  open: (disk, spool) => new Ext4Writer(disk, spool),
};

class Ext4Writer implements FilesystemWriter {
  readonly reserved = FIRST_FREE_INO;
  readonly #disk: BlockWriter;
  readonly #spool: Spool;
  /** The inodes up to the reserved one. The others are in the spool. */
  readonly #head = Buffer.alloc(FIRST_FREE_INO * INODE_BYTES);
  /**
   * The inode that is being encoded. One buffer serves for all, because new ones would pile up faster than they are
   * collected.
   */
  readonly #inode = Buffer.alloc(INODE_BYTES);
  #nextIno = FIRST_FREE_INO + 1;
  /** The first number whose inode has not been written yet. */
  #unwritten = FIRST_FREE_INO + 1;

  constructor(disk: BlockWriter, spool: Spool) {
    this.#disk = disk;
    this.#spool = spool;
    disk.appendZeros(DATA_START * BLOCK_BYTES);
  }

  write(tree: InodeTree, folder: number, parent: number): number {
    this.#number(tree, folder);
    this.#put(tree, folder, 0, parent);
    for (const one of tree.folders(folder)) {
      for (const entry of tree.children(one)) this.#put(tree, tree.inodeOf(entry), entry, tree.ino(one));
    }
    return tree.ino(folder);
  }

  finish(tree: InodeTree, options: FilesystemOptions): number {
    tree.setIno(tree.root, ROOT_INO);
    // e2fsck complains if it is missing.
    const lost = tree.add({ kind: 'folder' }, ownedByRoot(0o700));
    tree.setIno(lost, LOST_AND_FOUND_INO);
    tree.link(tree.root, 'lost+found', lost);
    this.write(tree, tree.root, ROOT_INO);
    this.#disk.end();
    return this.#tables(this.#nextIno - 1, options);
  }

  /** Numbers the inodes in the order in which they are written. */
  #number(tree: InodeTree, folder: number): void {
    const give = (inode: number): void => {
      if (tree.ino(inode) === 0) tree.setIno(inode, this.#nextIno++);
    };
    give(folder);
    for (const one of tree.folders(folder)) for (const entry of tree.children(one)) give(tree.inodeOf(entry));
  }

  /**
   * Writes an inode unless it has been written already, under another name or with another tree.
   * @param entry its entry, 0 if it has none
   */
  #put(tree: InodeTree, inode: number, entry: number, parent: number): void {
    const ino = tree.ino(inode);
    if (ino > FIRST_FREE_INO && ino !== this.#unwritten) return;
    let bytes: Buffer;
    try {
      bytes = this.#encode(tree, inode, parent);
    } catch (error) {
      throw new Error(`'${printable(tree.path(entry))}': ${messageOf(error)}`, { cause: error });
    }
    if (ino <= FIRST_FREE_INO) bytes.copy(this.#head, (ino - 1) * INODE_BYTES);
    else {
      this.#spool.append(bytes);
      this.#unwritten += 1;
    }
  }

  #encode(tree: InodeTree, number: number, parent: number): Buffer {
    const inode = this.#inode.fill(0);
    const node = tree.inode(number);
    let size = tree.size(number);
    let blocks = 0;
    let { links } = node;
    switch (node.kind) {
      case 'file':
        if (size > 0 || node.block > 0) blocks = this.#extents(inode, node.block, Math.ceil(size / BLOCK_BYTES));
        else this.#extents(inode, 0, 0);
        break;
      case 'folder': {
        const { content, indexed } = folderContent(tree, number, parent);
        size = content.length;
        blocks = this.#content(inode, content);
        if (indexed) inode.writeUInt32LE(EXTENTS_FLAG | INDEX_FLAG, 0x20);
        const subfolders = tree.children(number).filter((entry) => tree.kind(tree.inodeOf(entry)) === 'folder').length;
        // dir_nlink: a folder with more than 65,000 links has the number 1, which means "not counted".
        links = subfolders + 2 > MAX_LINKS ? 1 : subfolders + 2;
        break;
      }
      case 'symlink':
        if (size < 60) node.target.copy(inode, 0x28);
        else blocks = this.#content(inode, node.target);
        break;
      default:
        this.#device(inode, encodeDevice(node), node.major, node.minor);
    }
    if (node.kind !== 'folder' && links > MAX_LINKS)
      throw new Error(`expected at most ${MAX_LINKS} hard links, found ${links}`);
    blocks += this.#xattrs(inode, node);
    inode.writeUInt16LE(typeBits[node.kind] | node.mode, 0x00);
    inode.writeUInt16LE(node.uid & 0xffff, 0x02);
    inode.writeUInt32LE(size % 2 ** 32, 0x04);
    inode.writeUInt16LE(node.gid & 0xffff, 0x18);
    inode.writeUInt16LE(links, 0x1a);
    const sectors = blocks * (BLOCK_BYTES / 512);
    inode.writeUInt32LE(sectors % 2 ** 32, 0x1c);
    inode.writeUInt32LE(Math.floor(size / 2 ** 32), 0x6c);
    inode.writeUInt16LE(Math.floor(sectors / 2 ** 32), 0x74);
    inode.writeUInt16LE(node.uid >>> 16, 0x78);
    inode.writeUInt16LE(node.gid >>> 16, 0x7a);
    inode.writeUInt16LE(32, 0x80);
    // Seconds have 34 bits: the lower 32 are signed, and the upper two say how often to add 2^32.
    const low = node.mtime.sec | 0;
    const extra = ((((node.mtime.sec - low) / 2 ** 32) & 3) | (node.mtime.nsec << 2)) >>> 0;
    for (const offset of [0x08, 0x0c, 0x10]) inode.writeInt32LE(low, offset);
    for (const offset of [0x84, 0x88, 0x8c]) inode.writeUInt32LE(extra, offset);
    return inode;
  }

  #device(inode: Buffer, encoded: number, major: number, minor: number): void {
    if (major < 256 && minor < 256) inode.writeUInt32LE((major << 8) | minor, 0x28);
    else inode.writeUInt32LE(encoded, 0x2c);
  }

  /** Appends a folder's or a long symlink's content. @returns the number of blocks */
  #content(inode: Buffer, content: Buffer): number {
    const block = this.#disk.begin();
    this.#disk.append(content);
    this.#disk.end();
    return this.#extents(inode, block, Math.ceil(content.length / BLOCK_BYTES));
  }

  /** fs/ext4/ext4_extents.h. @returns the number of blocks, including those of the extent tree itself */
  #extents(inode: Buffer, start: number, blocks: number): number {
    inode.writeUInt32LE(EXTENTS_FLAG, 0x20);
    const extents: Buffer[] = [];
    for (let done = 0; done < blocks; done += MAX_EXTENT_BLOCKS) {
      const extent = Buffer.alloc(12);
      extent.writeUInt32LE(done, 0);
      extent.writeUInt16LE(Math.min(MAX_EXTENT_BLOCKS, blocks - done), 4);
      extent.writeUInt32LE(start + done, 8);
      extents.push(extent);
    }
    const tree = inode.subarray(0x28, 0x28 + 60);
    if (extents.length <= 4) {
      extentNode(tree, 0, 4, extents);
      return blocks;
    }
    const indexes: Buffer[] = [];
    for (let first = 0; first < extents.length; first += EXTENTS_PER_BLOCK) {
      const leaf = Buffer.alloc(BLOCK_BYTES);
      extentNode(leaf, 0, EXTENTS_PER_BLOCK, extents.slice(first, first + EXTENTS_PER_BLOCK));
      const index = Buffer.alloc(12);
      index.writeUInt32LE(first * MAX_EXTENT_BLOCKS, 0);
      index.writeUInt32LE(this.#disk.begin(), 4);
      this.#disk.append(leaf);
      indexes.push(index);
    }
    if (indexes.length > 4)
      throw new Error(`expected a file of at most ${4 * EXTENTS_PER_BLOCK * 128} MiB, found a larger one`);
    extentNode(tree, 1, 4, indexes);
    return blocks + indexes.length;
  }

  /** @returns the number of blocks */
  #xattrs(inode: Buffer, node: Inode): number {
    if (node.xattrs.size === 0) return 0;
    const encoded = encodeXattrs(node.xattrs);
    encoded.inInode?.copy(inode, 0xa0);
    if (encoded.block === undefined) return 0;
    inode.writeUInt32LE(this.#disk.begin(), 0x68);
    this.#disk.append(encoded.block);
    return 1;
  }

  /** All inodes in the order of their numbers. */
  *#table(): Generator<Buffer> {
    yield this.#head;
    yield* this.#spool.pieces();
  }

  /** Writes bitmaps, inode tables, group descriptors and the superblock. @returns the filesystem's size in bytes */
  #tables(lastIno: number, options: FilesystemOptions): number {
    const disk = this.#disk;
    const layout = arrange(disk.position / BLOCK_BYTES, lastIno, options.sizeBytes);
    const { groups, blocks, inodesPerGroup, bitmapsAt, inodeBitmapsAt, tablesAt, usedEnd } = layout;
    const descriptorBlocks = Math.ceil((groups * DESCRIPTOR_BYTES) / BLOCK_BYTES);
    const descriptors = Buffer.alloc(descriptorBlocks * BLOCK_BYTES);
    const isUsed = (block: number): boolean => block < usedEnd && !(block > descriptorBlocks && block < DATA_START);
    let freeBlocks = 0;
    for (let group = 0; group < groups; group += 1) {
      const bitmap = Buffer.alloc(BLOCK_BYTES);
      let free = 0;
      for (let bit = 0; bit < BLOCKS_PER_GROUP; bit += 1) {
        const block = group * BLOCKS_PER_GROUP + bit;
        if (block >= blocks || isUsed(block)) bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
        else free += 1;
      }
      disk.append(bitmap);
      freeBlocks += free;
      const at = group * DESCRIPTOR_BYTES;
      descriptors.writeUInt32LE(bitmapsAt + group, at);
      descriptors.writeUInt32LE(inodeBitmapsAt + group, at + 4);
      descriptors.writeUInt32LE(tablesAt + group * (inodesPerGroup / INODES_PER_BLOCK), at + 8);
      descriptors.writeUInt16LE(free, at + 12);
      const usedInodes = Math.min(Math.max(lastIno - group * inodesPerGroup, 0), inodesPerGroup);
      descriptors.writeUInt16LE(inodesPerGroup - usedInodes, at + 14);
    }
    for (let group = 0; group < groups; group += 1) {
      const bitmap = Buffer.alloc(BLOCK_BYTES);
      for (let bit = 0; bit < BLOCK_BYTES * 8; bit += 1) {
        if (bit >= inodesPerGroup || group * inodesPerGroup + bit < lastIno)
          bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
      }
      disk.append(bitmap);
    }
    let index = 0;
    for (const piece of this.#table()) {
      for (let offset = 0; offset < piece.length; offset += INODE_BYTES, index += 1) {
        if ((piece.readUInt16LE(offset) & 0xf000) !== typeBits.folder) continue;
        const at = Math.floor(index / inodesPerGroup) * DESCRIPTOR_BYTES + 16;
        descriptors.writeUInt16LE(descriptors.readUInt16LE(at) + 1, at);
      }
      disk.append(piece);
    }
    disk.appendZeros(usedEnd * BLOCK_BYTES - disk.position);
    disk.writeAt(BLOCK_BYTES, descriptors);
    disk.writeAt(1024, superblock(layout, lastIno, freeBlocks, options));
    return blocks * BLOCK_BYTES;
  }
}

function extentNode(target: Buffer, depth: number, max: number, entries: readonly Buffer[]): void {
  target.writeUInt16LE(0xf30a, 0);
  target.writeUInt16LE(entries.length, 2);
  target.writeUInt16LE(max, 4);
  target.writeUInt16LE(depth, 6);
  entries.forEach((entry, index) => entry.copy(target, 12 + index * 12));
}
