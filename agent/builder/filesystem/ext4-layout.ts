import { BLOCK_BYTES } from './block-writer.ts';
import { HASH_VERSION } from './ext4-folder.ts';
import type { FilesystemOptions } from './filesystem.ts';

export const BLOCKS_PER_GROUP = 32_768;
export const INODE_BYTES = 256;
export const INODES_PER_BLOCK = BLOCK_BYTES / INODE_BYTES;
export const DESCRIPTOR_BYTES = 32;
/**
 * The space for group descriptors, right behind the superblock: enough for 1 TiB. The part that is not needed is a
 * hole.
 */
export const DESCRIPTOR_BLOCKS = 64;
/** 1 TiB, for which the group descriptors have room. */
export const MAX_BYTES = ((DESCRIPTOR_BLOCKS * BLOCK_BYTES) / DESCRIPTOR_BYTES) * BLOCKS_PER_GROUP * BLOCK_BYTES;
export const FIRST_FREE_INO = 12;
const MAX_INODES_PER_GROUP = 32_768;

/** Where the filesystem's own tables are, in blocks. */
interface Layout {
  readonly groups: number;
  readonly blocks: number;
  readonly inodesPerGroup: number;
  readonly bitmapsAt: number;
  readonly inodeBitmapsAt: number;
  readonly tablesAt: number;
  readonly usedEnd: number;
}

/**
 * Decides where the tables go and how many groups there are. It has to iterate: each group has tables, which take
 * blocks, and blocks make groups.
 */
export function arrange(dataEnd: number, lastIno: number, sizeBytes: number | undefined): Layout {
  const wanted = sizeBytes === undefined ? 0 : Math.floor(sizeBytes / BLOCK_BYTES);
  let groups = Math.max(1, Math.ceil(wanted / BLOCKS_PER_GROUP), Math.ceil(lastIno / MAX_INODES_PER_GROUP));
  for (;;) {
    const inodesPerGroup = Math.ceil(Math.ceil(lastIno / groups) / INODES_PER_BLOCK) * INODES_PER_BLOCK;
    const tablesAt = dataEnd + 2 * groups;
    const usedEnd = tablesAt + groups * (inodesPerGroup / INODES_PER_BLOCK);
    const needed = Math.ceil(usedEnd / BLOCKS_PER_GROUP);
    if (needed > groups) {
      groups = needed;
      continue;
    }
    // The last group may be short, but has to exist.
    const smallest = Math.max(usedEnd, (groups - 1) * BLOCKS_PER_GROUP + 64);
    if (sizeBytes !== undefined && wanted < smallest)
      throw new Error(`--size: expected a size of at least ${smallest * BLOCK_BYTES} bytes, found ${sizeBytes}`);
    if (groups * DESCRIPTOR_BYTES > DESCRIPTOR_BLOCKS * BLOCK_BYTES)
      throw new Error('expected a disk of at most 1 TiB, found a larger one');
    const blocks = Math.max(smallest, wanted);
    return { groups, blocks, inodesPerGroup, bitmapsAt: dataEnd, inodeBitmapsAt: dataEnd + groups, tablesAt, usedEnd };
  }
}

/** fs/ext4/ext4.h, struct ext4_super_block. */
export function superblock(layout: Layout, lastIno: number, freeBlocks: number, options: FilesystemOptions): Buffer {
  const block = Buffer.alloc(1024);
  const inodes = layout.groups * layout.inodesPerGroup;
  const fields: readonly (readonly [number, number])[] = [
    [0x00, inodes],
    [0x04, layout.blocks],
    [0x0c, freeBlocks],
    [0x10, inodes - lastIno],
    [0x18, 2],
    [0x1c, 2],
    [0x20, BLOCKS_PER_GROUP],
    [0x24, BLOCKS_PER_GROUP],
    [0x28, layout.inodesPerGroup],
    [0x4c, 1],
    [0x54, FIRST_FREE_INO - 1],
    // ext_attr, dir_index, sparse_super2; filetype, extents, flex_bg; large_file, huge_file, dir_nlink, extra_isize.
    [0x5c, 0x8 | 0x20 | 0x200],
    [0x60, 0x2 | 0x40 | 0x200],
    [0x64, 0x2 | 0x8 | 0x20 | 0x40],
  ];
  for (const [offset, value] of fields) block.writeUInt32LE(value, offset);
  block.writeUInt16LE(0xffff, 0x36);
  block.writeUInt16LE(0xef53, 0x38);
  // Clean; on errors, continue.
  block.writeUInt16LE(1, 0x3a);
  block.writeUInt16LE(1, 0x3c);
  block.writeUInt16LE(INODE_BYTES, 0x58);
  block.writeUInt8(HASH_VERSION, 0xfc);
  const UNSIGNED_HASH = 2;
  block.writeUInt32LE(UNSIGNED_HASH, 0x160);
  options.uuid.copy(block, 0x68);
  block.write(options.label, 0x78, 16, 'latin1');
  block.writeUInt16LE(32, 0x15c);
  block.writeUInt16LE(32, 0x15e);
  // Bitmaps and tables are outside their groups, which one flex group of 2^31 groups allows.
  block.writeUInt8(31, 0x174);
  return block;
}
