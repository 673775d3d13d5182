import { messageOf } from '../../system/errors.ts';
import { BLOCK_BYTES, roundUp, type BlockWriter } from './block-writer.ts';
import {
  encodeDevice,
  typeBits,
  type Filesystem,
  type FilesystemOptions,
  type FilesystemWriter,
} from './filesystem.ts';
import { printable } from '../../text/printable.ts';
import type { Spool } from '../../streams/spool.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';
import type { Inode } from '../inodes/inode.ts';
import { storedXattrs } from './stored-xattrs.ts';

const SLOT_BYTES = 32;
const INODE_BYTES = 64;
const XATTR_HEADER_BYTES = 12;
const DIRENT_BYTES = 12;
const MAX_XATTRS_BYTES = XATTR_HEADER_BYTES + 0xfffe * 4;
const MAGIC = 0xe0f5e1e2;
/**
 * An inode's number is its offset in the area of inodes, counted in slots. readdir(3) would skip number 0, and the
 * root's number has only 16 bits.
 */
const ROOT_INO = 2;
/** The start of the area, up to the end of the root's inode and the reserved one. */
const HEAD_BYTES = ROOT_INO * SLOT_BYTES + 2 * INODE_BYTES;
/** The smallest block of erofs, in whose multiples tars have their files. */
const SMALL_BLOCK_BYTES = 512;
const FLAT_PLAIN = 0;
const FLAT_INLINE = 2;
const fileTypes = { file: 1, folder: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;

/**
 * Writes erofs from front to back, without mkfs.erofs: first the contents, uncompressed, then the full blocks of
 * folders, then the inodes, each followed by its xattrs and the rest of a folder or symlink (fs/erofs/erofs_fs.h).
 * Extended inodes keep times to the nanosecond. Linux 5.4 and later mount it.
 */
export const erofs: Filesystem = {
  blockBytes: BLOCK_BYTES,
  maxBytes: (2 ** 32 - 1) * BLOCK_BYTES,
  open: (disk, spool) => new ErofsWriter(disk, spool),
};

/**
 * The same with blocks as small as those of a tar, so that the files of a tar can be files of the filesystem where they
 * lie. Linux 6.4 and later mount it (fs/erofs/super.c, erofs_read_superblock; d3c4bdcc756e), and 6.1 since the autumn
 * of 2024 (38c561839041 of its stable branch), on devices whose sectors are not larger.
 */
export const erofsOfSmallBlocks: Filesystem = {
  ...erofs,
  blockBytes: SMALL_BLOCK_BYTES,
  maxBytes: (2 ** 32 - 1) * SMALL_BLOCK_BYTES,
};

class ErofsWriter implements FilesystemWriter {
  readonly reserved = ROOT_INO + INODE_BYTES / SLOT_BYTES;
  readonly #disk: BlockWriter;
  readonly #spool: Spool;
  /** The area of inodes up to the reserved one; the rest is in the spool. */
  readonly #head = Buffer.alloc(HEAD_BYTES);
  /** The end, within the area, of the inodes that have been placed. */
  #placed = HEAD_BYTES;
  #inodes = 0;

  constructor(disk: BlockWriter, spool: Spool) {
    this.#disk = disk;
    this.#spool = spool;
    disk.appendZeros(BLOCK_BYTES);
  }

  write(tree: InodeTree, folder: number, parent: number): number {
    this.#disk.end();
    this.#place(tree, folder, 0);
    for (const one of tree.folders(folder))
      for (const entry of tree.children(one)) this.#place(tree, tree.inodeOf(entry), entry);
    this.#put(tree, folder, 0, parent);
    for (const one of tree.folders(folder))
      for (const entry of tree.children(one)) this.#put(tree, tree.inodeOf(entry), entry, tree.ino(one));
    return tree.ino(folder);
  }

  finish(tree: InodeTree, options: FilesystemOptions): number {
    if (Buffer.byteLength(options.label) > 15)
      throw new Error(`expected a label of at most 15 bytes for erofs, found '${options.label}'`);
    tree.setIno(tree.root, ROOT_INO);
    this.write(tree, tree.root, ROOT_INO);
    const disk = this.#disk;
    const area = disk.begin();
    disk.append(this.#head);
    for (const piece of this.#spool.pieces()) disk.append(piece);
    // A disk is a whole number of pages long, whatever its blocks.
    disk.appendZeros(-disk.position & (BLOCK_BYTES - 1));
    const needed = disk.position;
    if (options.sizeBytes !== undefined && options.sizeBytes < needed)
      throw new Error(`--size: expected a size of at least ${needed} bytes, found ${options.sizeBytes}`);
    const sizeBytes = options.sizeBytes ?? needed;
    disk.writeAt(1024, superblock(area, this.#inodes, sizeBytes, disk.blockBytes, options));
    return sizeBytes;
  }

  /** Gives an inode its place in the area, which is also its number. @param entry its entry, 0 if it has none */
  #place(tree: InodeTree, inode: number, entry: number): void {
    if (tree.ino(inode) !== 0) return;
    withPath(tree, entry, () => {
      const { blockBytes } = this.#disk;
      const { xattrs, tail } = sizes(tree, inode, blockBytes);
      let at = roundUp(this.#placed, SLOT_BYTES);
      if (!fits(at, xattrs, tail, blockBytes)) at = roundUp(at, blockBytes);
      tree.setIno(inode, at / SLOT_BYTES);
      this.#placed = at + INODE_BYTES + xattrs + inlineBytes(at, xattrs, tail, blockBytes);
    });
  }

  /** Writes an inode unless it has been written already, under another name or with another tree. */
  #put(tree: InodeTree, inode: number, entry: number, parent: number): void {
    const at = tree.ino(inode) * SLOT_BYTES;
    const inHead = at < HEAD_BYTES;
    const end = HEAD_BYTES + this.#spool.sizeBytes;
    if (!inHead && at < end) return;
    withPath(tree, entry, () => {
      const xattrs = encodeXattrs(tree.inode(inode));
      const { blockBytes } = this.#disk;
      const content = contentOf(tree, inode, parent, blockBytes);
      // The inodes in the head have no room behind them.
      if (inHead && xattrs.length > 0) throw new Error('expected no xattrs');
      const inline = inHead ? 0 : inlineBytes(at, xattrs.length, content.length % blockBytes, blockBytes);
      const full = content.subarray(0, content.length - inline);
      const start = full.length === 0 ? 0 : this.#disk.begin();
      this.#disk.append(full);
      this.#disk.end();
      const bytes = inodeOf(tree, inode, { start, inline, xattrBytes: xattrs.length, blockBytes });
      this.#inodes += 1;
      if (inHead) {
        bytes.copy(this.#head, at);
        return;
      }
      this.#spool.append(Buffer.alloc(at - end));
      for (const part of [bytes, xattrs, content.subarray(content.length - inline)]) this.#spool.append(part);
    });
  }
}

function withPath(tree: InodeTree, entry: number, action: () => void): void {
  try {
    action();
  } catch (error) {
    throw new Error(`'${printable(tree.path(entry))}': ${messageOf(error)}`, { cause: error });
  }
}

/** How many bytes an inode's xattrs take, and the content that may follow it. */
function sizes(tree: InodeTree, inode: number, blockBytes: number): { readonly xattrs: number; readonly tail: number } {
  const kind = tree.kind(inode);
  const size = kind === 'folder' ? folderSize(tree, inode, blockBytes) : kind === 'symlink' ? tree.size(inode) : 0;
  return { xattrs: encodeXattrs(tree.inode(inode)).length, tail: size % blockBytes };
}

/** Neither an inode nor the content that follows it may cross the end of a block. An inode's list of xattrs may. */
function fits(at: number, xattrs: number, tail: number, blockBytes: number): boolean {
  const head = INODE_BYTES + (xattrs > 0 ? XATTR_HEADER_BYTES : 0);
  return (at % blockBytes) + head <= blockBytes && ((at + INODE_BYTES + xattrs) % blockBytes) + tail <= blockBytes;
}

function inlineBytes(at: number, xattrs: number, tail: number, blockBytes: number): number {
  return fits(at, xattrs, tail, blockBytes) ? tail : 0;
}

/** The content that is written with the inode: a folder's entries or a symlink's target. */
function contentOf(tree: InodeTree, inode: number, parent: number, blockBytes: number): Buffer {
  const kind = tree.kind(inode);
  if (kind === 'folder') return folderContent(tree, inode, parent, blockBytes);
  return kind === 'symlink' ? tree.target(inode) : Buffer.alloc(0);
}

interface Stored {
  /** The first block of the content of an inode that is not a regular file. */
  readonly start: number;
  /** How many bytes of it follow the inode. */
  readonly inline: number;
  readonly xattrBytes: number;
  /** Of the filesystem. */
  readonly blockBytes: number;
}

/** struct erofs_inode_extended */
function inodeOf(tree: InodeTree, inode: number, { start, inline, xattrBytes, blockBytes }: Stored): Buffer {
  const bytes = Buffer.alloc(INODE_BYTES);
  const node = tree.inode(inode);
  const size = node.kind === 'folder' ? folderSize(tree, inode, blockBytes) : tree.size(inode);
  bytes.writeUInt16LE(1 | ((inline > 0 ? FLAT_INLINE : FLAT_PLAIN) << 1), 0);
  bytes.writeUInt16LE(xattrBytes === 0 ? 0 : (xattrBytes - XATTR_HEADER_BYTES) / 4 + 1, 2);
  bytes.writeUInt16LE(typeBits[node.kind] | node.mode, 4);
  bytes.writeBigUInt64LE(BigInt(size), 8);
  if (node.kind === 'file') bytes.writeUInt32LE(node.block, 16);
  else if (node.kind === 'folder' || node.kind === 'symlink') bytes.writeUInt32LE(start, 16);
  else bytes.writeUInt32LE(encodeDevice(node), 16);
  bytes.writeUInt32LE(node.ino, 20);
  bytes.writeUInt32LE(node.uid, 24);
  bytes.writeUInt32LE(node.gid, 28);
  bytes.writeBigInt64LE(BigInt(node.mtime.sec), 32);
  bytes.writeUInt32LE(node.mtime.nsec, 40);
  bytes.writeUInt32LE(
    node.kind === 'folder'
      ? 2 + tree.children(inode).filter((entry) => tree.kind(tree.inodeOf(entry)) === 'folder').length
      : node.links,
    44,
  );
  return bytes;
}

/** struct erofs_xattr_ibody_header and its entries; empty if there are none. */
function encodeXattrs(node: Inode): Buffer {
  if (node.xattrs.size === 0) return Buffer.alloc(0);
  const parts: Buffer[] = [Buffer.alloc(XATTR_HEADER_BYTES)];
  for (const { prefix, name, value } of storedXattrs(node.xattrs, 'erofs')) {
    if (value.length > 0xffff) throw new Error(`expected an xattr of at most 65535 bytes, found ${value.length}`);
    const entry = Buffer.alloc(roundUp(4 + name.length + value.length, 4));
    entry.writeUInt8(name.length, 0);
    entry.writeUInt8(prefix, 1);
    entry.writeUInt16LE(value.length, 2);
    name.copy(entry, 4);
    value.copy(entry, 4 + name.length);
    parts.push(entry);
  }
  const encoded = Buffer.concat(parts);
  // The number of words is stored in 16 bits.
  if (encoded.length > MAX_XATTRS_BYTES)
    throw new Error(
      `expected at most ${MAX_XATTRS_BYTES} bytes of xattrs, all that erofs has room for, found ${encoded.length}`,
    );
  return encoded;
}

const DOT = -1;
const DOT_DOT = -2;

/** A folder's entries, divided into blocks. They are sorted by name throughout, including the two dots. */
function folderBlocks(tree: InodeTree, folder: number, blockBytes: number): number[][] {
  const entries = tree.children(folder);
  for (const [dots, name] of [
    [DOT, '.'],
    [DOT_DOT, '..'],
  ] as const) {
    const place = entries.findIndex((entry) => entry > 0 && tree.compareName(entry, name) > 0);
    entries.splice(place === -1 ? entries.length : place, 0, dots);
  }
  const blocks: number[][] = [];
  let block: number[] = [];
  let used = 0;
  for (const entry of entries) {
    const length = DIRENT_BYTES + nameLength(tree, entry);
    if (used + length > blockBytes) {
      blocks.push(block);
      block = [];
      used = 0;
    }
    block.push(entry);
    used += length;
  }
  return [...blocks, block];
}

function nameLength(tree: InodeTree, entry: number): number {
  return entry === DOT ? 1 : entry === DOT_DOT ? 2 : tree.nameLength(entry);
}

function folderSize(tree: InodeTree, folder: number, blockBytes: number): number {
  const blocks = folderBlocks(tree, folder, blockBytes);
  const last = blocks.at(-1) ?? [];
  return (
    (blocks.length - 1) * blockBytes + last.reduce((sum, entry) => sum + DIRENT_BYTES + nameLength(tree, entry), 0)
  );
}

function folderContent(tree: InodeTree, folder: number, parent: number, blockBytes: number): Buffer {
  const content = Buffer.alloc(folderSize(tree, folder, blockBytes));
  folderBlocks(tree, folder, blockBytes).forEach((entries, index) => {
    const block = content.subarray(index * blockBytes);
    let nameOffset = entries.length * DIRENT_BYTES;
    entries.forEach((entry, number) => {
      const inode = entry > 0 ? tree.inodeOf(entry) : folder;
      block.writeBigUInt64LE(BigInt(entry === DOT_DOT ? parent : tree.ino(inode)), number * DIRENT_BYTES);
      block.writeUInt16LE(nameOffset, number * DIRENT_BYTES + 8);
      block.writeUInt8(fileTypes[tree.kind(inode)], number * DIRENT_BYTES + 10);
      if (entry > 0) tree.copyName(entry, block, nameOffset);
      else block.write(entry === DOT ? '.' : '..', nameOffset, 'latin1');
      nameOffset += nameLength(tree, entry);
    });
  });
  return content;
}

/** struct erofs_super_block, without a checksum, which is optional (a compatible feature). */
function superblock(
  area: number,
  inodes: number,
  sizeBytes: number,
  blockBytes: number,
  options: FilesystemOptions,
): Buffer {
  const COMPAT_MTIME = 2;
  const block = Buffer.alloc(128);
  block.writeUInt32LE(MAGIC, 0);
  block.writeUInt32LE(COMPAT_MTIME, 8);
  block.writeUInt8(Math.log2(blockBytes), 12);
  block.writeUInt16LE(ROOT_INO, 14);
  block.writeBigUInt64LE(BigInt(inodes), 16);
  block.writeUInt32LE(sizeBytes / blockBytes, 36);
  block.writeUInt32LE(area, 40);
  options.uuid.copy(block, 48);
  block.write(options.label, 64, 16, 'latin1');
  return block;
}
