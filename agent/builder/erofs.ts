import { messageOf } from '../system/errors.ts';
import { BLOCK_BYTES, roundUp, type DiskFile } from './disk-file.ts';
import { encodeDevice, typeBits, type Filesystem, type FilesystemOptions } from './filesystem.ts';
import { printable } from './layer-tree.ts';
import { sortedChildren, walk, type FolderNode, type TreeNode } from './tree-node.ts';
import { storedXattrs } from './xattrs.ts';

const SLOT_BYTES = 32;
const INODE_BYTES = 64;
const XATTR_HEADER_BYTES = 12;
const DIRENT_BYTES = 12;
const MAGIC = 0xe0f5e1e2;
/** Inode 0 would be passed over by readdir(3). */
const FIRST_OFFSET = 2 * SLOT_BYTES;
const FLAT_PLAIN = 0;
const FLAT_INLINE = 2;
const fileTypes = { file: 1, folder: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;

/**
 * Writes erofs from front to back, without mkfs.erofs: contents first, uncompressed, then the full blocks of folders,
 * then inodes, each with its xattrs and what is left of a folder or symlink behind it (fs/erofs/erofs_fs.h). Extended
 * inodes keep times to the nanosecond. Linux 5.4 and later mount it.
 */
export const erofs: Filesystem = {
  start: (disk) => disk.appendZeros(BLOCK_BYTES),
  finish: (disk, root, options) => writeErofs(disk, root, options),
};

interface Placed {
  readonly node: TreeNode;
  readonly path: string;
  readonly parent: FolderNode;
  /** Of the inode, within the inodes' area. */
  readonly offset: number;
  readonly xattrs: Buffer;
  readonly size: number;
  /** Bytes of it that lie behind the inode. */
  readonly inline: number;
}

function writeErofs(disk: DiskFile, root: FolderNode, options: FilesystemOptions): number {
  if (Buffer.byteLength(options.label) > 15) throw new Error(`a label of at most 15 bytes expected for erofs, found '${options.label}'`);
  const { placed, end } = place(root);
  disk.end();
  const starts = new Map<TreeNode, number>();
  const contents = new Map<TreeNode, Buffer>();
  for (const { node, parent, size, inline } of placed) {
    if (node.kind !== 'folder' && node.kind !== 'symlink') continue;
    const content = node.kind === 'folder' ? folderContent(node, parent) : node.target;
    const full = content.subarray(0, size - inline);
    if (full.length > 0) {
      starts.set(node, disk.begin());
      disk.append(full);
      disk.end();
    }
    if (inline > 0) contents.set(node, Buffer.from(content.subarray(size - inline)));
  }
  const area = disk.begin();
  let written = 0;
  const pad = (offset: number): void => {
    disk.appendZeros(offset - written);
    written = offset;
  };
  for (const one of placed) {
    pad(one.offset);
    const bytes = Buffer.concat([inode(one, starts.get(one.node) ?? 0), one.xattrs, contents.get(one.node) ?? Buffer.alloc(0)]);
    disk.append(bytes);
    written += bytes.length;
  }
  pad(roundUp(end, BLOCK_BYTES));
  const needed = disk.position;
  if (options.sizeBytes !== undefined && options.sizeBytes < needed) throw new Error(`a size of at least ${needed} bytes expected, found ${options.sizeBytes}`);
  const sizeBytes = options.sizeBytes ?? needed;
  disk.writeAt(1024, superblock(area, root.ino, placed.length, sizeBytes, options));
  return sizeBytes;
}

/** Gives each inode its place, which is its number, too: the root first, since its number has 16 bits only. */
function place(root: FolderNode): { readonly placed: Placed[]; readonly end: number } {
  const placed: Placed[] = [];
  let position = FIRST_OFFSET;
  const parents = new Map<TreeNode, FolderNode>([[root, root]]);
  for (const { node, path } of walk(root)) {
    if (node.kind === 'folder') for (const child of node.children.values()) if (child.kind === 'folder') parents.set(child, node);
    if (node.ino !== 0) continue;
    let xattrs: Buffer;
    let size = 0;
    try {
      xattrs = encodeXattrs(node);
      if (node.kind === 'file') size = node.size;
      else if (node.kind === 'symlink') size = node.target.length;
      else if (node.kind === 'folder') size = folderSize(node);
    } catch (error) {
      throw new Error(`'${printable(path)}': ${messageOf(error)}`, { cause: error });
    }
    const head = INODE_BYTES + (xattrs.length > 0 ? XATTR_HEADER_BYTES : 0);
    let inline = node.kind === 'folder' || node.kind === 'symlink' ? size % BLOCK_BYTES : 0;
    // Neither an inode nor what lies behind it may cross a block's end; an inode's list of xattrs may.
    const fits = (at: number): boolean => (at % BLOCK_BYTES) + head <= BLOCK_BYTES && ((at + INODE_BYTES + xattrs.length) % BLOCK_BYTES) + inline <= BLOCK_BYTES;
    let at = roundUp(position, SLOT_BYTES);
    if (!fits(at)) at = roundUp(at, BLOCK_BYTES);
    if (!fits(at)) inline = 0;
    node.ino = at / SLOT_BYTES;
    placed.push({ node, path, parent: parents.get(node) ?? root, offset: at, xattrs, size, inline });
    position = at + INODE_BYTES + xattrs.length + inline;
  }
  return { placed, end: position };
}

/** struct erofs_inode_extended */
function inode({ node, xattrs, size, inline, path }: Placed, start: number): Buffer {
  const bytes = Buffer.alloc(INODE_BYTES);
  if (node.uid < 0 || node.uid > 0xffffffff || node.gid < 0 || node.gid > 0xffffffff) throw new Error(`'${printable(path)}': a uid and gid of 32 bits expected, found ${node.uid}:${node.gid}`);
  bytes.writeUInt16LE(1 | ((inline > 0 ? FLAT_INLINE : FLAT_PLAIN) << 1), 0);
  bytes.writeUInt16LE(xattrs.length === 0 ? 0 : (xattrs.length - XATTR_HEADER_BYTES) / 4 + 1, 2);
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
  bytes.writeUInt32LE(node.kind === 'folder' ? 2 + [...node.children.values()].filter(({ kind }) => kind === 'folder').length : node.links, 44);
  return bytes;
}

/** struct erofs_xattr_ibody_header and its entries; nothing where there are none. */
function encodeXattrs(node: TreeNode): Buffer {
  if (node.xattrs === undefined || node.xattrs.size === 0) return Buffer.alloc(0);
  const parts: Buffer[] = [Buffer.alloc(XATTR_HEADER_BYTES)];
  for (const { prefix, name, value } of storedXattrs(node.xattrs, 'erofs')) {
    if (value.length > 0xffff) throw new Error(`an xattr of at most 65535 bytes expected, found ${value.length}`);
    const entry = Buffer.alloc(roundUp(4 + name.length + value.length, 4));
    entry.writeUInt8(name.length, 0);
    entry.writeUInt8(prefix, 1);
    entry.writeUInt16LE(value.length, 2);
    name.copy(entry, 4);
    value.copy(entry, 4 + name.length);
    parts.push(entry);
  }
  return Buffer.concat(parts);
}

type Entry = readonly [name: string, node: TreeNode | undefined];

/** A folder's entries in blocks: sorted by name over all, the two dots among them. */
function folderBlocks(node: FolderNode): Entry[][] {
  const entries: Entry[] = [['.', undefined], ['..', undefined], ...sortedChildren(node)].sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)) as Entry[];
  const blocks: Entry[][] = [];
  let block: Entry[] = [];
  let used = 0;
  for (const entry of entries) {
    const length = DIRENT_BYTES + entry[0].length;
    if (entry[0].length > 255) throw new Error(`names of at most 255 bytes expected, found one of ${entry[0].length}`);
    if (used + length > BLOCK_BYTES) {
      blocks.push(block);
      block = [];
      used = 0;
    }
    block.push(entry);
    used += length;
  }
  return [...blocks, block];
}

function folderSize(node: FolderNode): number {
  const blocks = folderBlocks(node);
  const last = blocks.at(-1) ?? [];
  return (blocks.length - 1) * BLOCK_BYTES + last.reduce((sum, [name]) => sum + DIRENT_BYTES + name.length, 0);
}

function folderContent(node: FolderNode, parent: FolderNode): Buffer {
  const content = Buffer.alloc(folderSize(node));
  folderBlocks(node).forEach((entries, index) => {
    const block = content.subarray(index * BLOCK_BYTES);
    let nameOffset = entries.length * DIRENT_BYTES;
    entries.forEach(([name, child], number) => {
      const target = child ?? (name === '.' ? node : parent);
      block.writeBigUInt64LE(BigInt(target.ino), number * DIRENT_BYTES);
      block.writeUInt16LE(nameOffset, number * DIRENT_BYTES + 8);
      block.writeUInt8(fileTypes[target.kind], number * DIRENT_BYTES + 10);
      block.write(name, nameOffset, 'latin1');
      nameOffset += name.length;
    });
  });
  return content;
}

/** struct erofs_super_block; without a checksum, which is a compatible feature. */
function superblock(area: number, rootIno: number, inodes: number, sizeBytes: number, options: FilesystemOptions): Buffer {
  const COMPAT_MTIME = 2;
  const block = Buffer.alloc(128);
  block.writeUInt32LE(MAGIC, 0);
  block.writeUInt32LE(COMPAT_MTIME, 8);
  block.writeUInt8(12, 12);
  block.writeUInt16LE(rootIno, 14);
  block.writeBigUInt64LE(BigInt(inodes), 16);
  block.writeUInt32LE(sizeBytes / BLOCK_BYTES, 36);
  block.writeUInt32LE(area, 40);
  options.uuid.copy(block, 48);
  block.write(options.label, 64, 16, 'latin1');
  return block;
}
