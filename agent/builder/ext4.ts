import { printable } from './layer-tree.ts';
import { BLOCK_BYTES, type DiskFile } from './disk-file.ts';
import { folderContent } from './ext4-folder.ts';
import { arrange, BLOCKS_PER_GROUP, DESCRIPTOR_BLOCKS, DESCRIPTOR_BYTES, FIRST_FREE_INO, INODE_BYTES, INODES_PER_BLOCK, superblock } from './ext4-layout.ts';
import { encodeXattrs } from './ext4-xattrs.ts';
import { encodeDevice, typeBits, type Filesystem, type FilesystemOptions } from './filesystem.ts';
import { folder, sortedChildren, walk, type FolderNode, type TreeNode } from './tree-node.ts';
import { messageOf } from '../system/errors.ts';

const DATA_START = 1 + DESCRIPTOR_BLOCKS;
const ROOT_INO = 2;
const LOST_AND_FOUND_INO = 11;
const MAX_LINKS = 65_000;
const MAX_EXTENT_BLOCKS = 32_768;
const EXTENTS_FLAG = 0x80000;
/** Entries of an extent block: 12 bytes each, behind a header of 12. */
const EXTENTS_PER_BLOCK = 340;

/**
 * Writes ext4 from front to back, without mke2fs: contents first, then folders, then bitmaps and inode tables, which
 * flex_bg lets lie anywhere, and last the superblock. So nothing is staged, root is not needed, times are kept to the
 * nanosecond, and the same content gives the same bytes. No journal, no checksums, no backup superblocks (sparse_super2):
 * the disk is never written to. Every feature is older than Linux 3.16.
 */
export const ext4: Filesystem = {
  start: (disk) => disk.appendZeros(DATA_START * BLOCK_BYTES),
  finish: (disk, root, options) => new Ext4Writer(disk, root).finish(options),
};

class Ext4Writer {
  readonly #disk: DiskFile;
  readonly #root: FolderNode;
  readonly #nodes: { readonly node: TreeNode; readonly path: string; readonly parent: number; readonly subfolders: number }[] = [];
  /** Inode 1 first. */
  #table: Buffer = Buffer.alloc(0);
  /** Inode numbers of folders, which each group counts. */
  readonly #folders: number[] = [];

  constructor(disk: DiskFile, root: FolderNode) {
    this.#disk = disk;
    this.#root = root;
  }

  finish(options: FilesystemOptions): number {
    // e2fsck misses it otherwise.
    this.#root.children.set('lost+found', folder(0o700));
    const lastIno = this.#number();
    this.#table = Buffer.alloc(lastIno * INODE_BYTES);
    // Inode 1 and 3 to 10 are reserved, and empty.
    for (const { node, path, parent, subfolders } of this.#nodes) {
      try {
        this.#inode(node, parent, subfolders);
      } catch (error) {
        throw new Error(`'${printable(path)}': ${messageOf(error)}`, { cause: error });
      }
    }
    this.#disk.end();
    return this.#tables(lastIno, options);
  }

  /** Gives each inode its number; returns the highest. */
  #number(): number {
    let next = FIRST_FREE_INO;
    const give = (node: TreeNode, path: string): boolean => {
      if (node.ino !== 0) return false;
      node.ino = path === '' ? ROOT_INO : path === 'lost+found' ? LOST_AND_FOUND_INO : next++;
      return true;
    };
    for (const { node, path } of walk(this.#root)) {
      // A folder has numbered its children before the walk comes to them.
      if (path === '') give(node, path);
      if (node.kind !== 'folder') continue;
      let subfolders = 0;
      for (const [name, child] of sortedChildren(node)) {
        const childPath = path === '' ? name : `${path}/${name}`;
        if (child.kind === 'folder') subfolders += 1;
        if (give(child, childPath) && child.kind !== 'folder') this.#nodes.push({ node: child, path: name, parent: node.ino, subfolders: 0 });
      }
      this.#nodes.push({ node, path, parent: this.#parents.get(path) ?? ROOT_INO, subfolders });
      for (const [name, child] of node.children) if (child.kind === 'folder') this.#parents.set(path === '' ? name : `${path}/${name}`, node.ino);
    }
    return next - 1;
  }

  readonly #parents = new Map<string, number>();

  #inode(node: TreeNode, parent: number, subfolders: number): void {
    const inode = this.#table.subarray((node.ino - 1) * INODE_BYTES, node.ino * INODE_BYTES);
    let size = 0;
    let blocks = 0;
    let links = node.links;
    switch (node.kind) {
      case 'file':
        size = node.size;
        if (size > 0 || node.block > 0) blocks = this.#extents(inode, node.block, Math.ceil(size / BLOCK_BYTES));
        else this.#extents(inode, 0, 0);
        break;
      case 'folder': {
        const content = folderContent(node, parent);
        size = content.length;
        blocks = this.#content(inode, content);
        // dir_nlink: a folder with more than 65,000 has 1, "not counted".
        links = subfolders + 2 > MAX_LINKS ? 1 : subfolders + 2;
        this.#folders.push(node.ino);
        break;
      }
      case 'symlink':
        size = node.target.length;
        if (size < 60) node.target.copy(inode, 0x28);
        else blocks = this.#content(inode, node.target);
        break;
      default:
        this.#device(inode, encodeDevice(node), node.major, node.minor);
    }
    if (node.kind !== 'folder' && links > MAX_LINKS) throw new Error(`at most ${MAX_LINKS} hard links expected, found ${links}`);
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
    if (node.uid < 0 || node.uid > 0xffffffff || node.gid < 0 || node.gid > 0xffffffff) throw new Error(`a uid and gid of 32 bits expected, found ${node.uid}:${node.gid}`);
    inode.writeUInt16LE(node.uid >>> 16, 0x78);
    inode.writeUInt16LE(node.gid >>> 16, 0x7a);
    inode.writeUInt16LE(32, 0x80);
    // Seconds have 34 bits: the lower 32 are signed, the upper two say how often to add 2^32.
    const low = node.mtime.sec | 0;
    const extra = ((((node.mtime.sec - low) / 2 ** 32) & 3) | (node.mtime.nsec << 2)) >>> 0;
    for (const offset of [0x08, 0x0c, 0x10]) inode.writeInt32LE(low, offset);
    for (const offset of [0x84, 0x88, 0x8c]) inode.writeUInt32LE(extra, offset);
  }

  #device(inode: Buffer, encoded: number, major: number, minor: number): void {
    if (major < 256 && minor < 256) inode.writeUInt32LE((major << 8) | minor, 0x28);
    else inode.writeUInt32LE(encoded, 0x2c);
  }

  /** Appends a folder's or a long symlink's content. @returns blocks */
  #content(inode: Buffer, content: Buffer): number {
    const block = this.#disk.begin();
    this.#disk.append(content);
    this.#disk.end();
    return this.#extents(inode, block, Math.ceil(content.length / BLOCK_BYTES));
  }

  /** fs/ext4/ext4_extents.h. @returns blocks, those of the tree itself too */
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
    if (indexes.length > 4) throw new Error(`a file of at most ${4 * EXTENTS_PER_BLOCK * 128} MiB expected, found a larger one`);
    extentNode(tree, 1, 4, indexes);
    return blocks + indexes.length;
  }

  /** @returns blocks */
  #xattrs(inode: Buffer, node: TreeNode): number {
    if (node.xattrs === undefined || node.xattrs.size === 0) return 0;
    const encoded = encodeXattrs(node.xattrs);
    if ('inInode' in encoded) {
      encoded.inInode.copy(inode, 0xa0);
      return 0;
    }
    inode.writeUInt32LE(this.#disk.begin(), 0x68);
    this.#disk.append(encoded.block);
    return 1;
  }

  /** Bitmaps, inode tables, group descriptors and superblock; returns the size in bytes. */
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
    for (const ino of this.#folders) {
      const at = Math.floor((ino - 1) / inodesPerGroup) * DESCRIPTOR_BYTES + 16;
      descriptors.writeUInt16LE(descriptors.readUInt16LE(at) + 1, at);
    }
    for (let group = 0; group < groups; group += 1) {
      const bitmap = Buffer.alloc(BLOCK_BYTES);
      for (let bit = 0; bit < BLOCK_BYTES * 8; bit += 1) {
        if (bit >= inodesPerGroup || group * inodesPerGroup + bit < lastIno) bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
      }
      disk.append(bitmap);
    }
    disk.append(this.#table);
    disk.appendZeros((usedEnd * BLOCK_BYTES) - disk.position);
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
