import { BLOCK_BYTES } from './block-writer.ts';
import { nameHash } from './ext4-hash.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';

const fileTypes = { file: 1, folder: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;
/** Half MD4; that its bytes are unsigned is in the superblock. */
export const HASH_VERSION = 1;
const INFO_BYTES = 8;
/**
 * Where an index's entries begin in its root, behind the two dots and what says how it is made, and in its other
 * blocks.
 */
const ROOT_ENTRIES_AT = 32;
const NODE_ENTRIES_AT = 8;
const INDEX_ENTRY_BYTES = 8;
const ROOT_LIMIT = (BLOCK_BYTES - ROOT_ENTRIES_AT) / INDEX_ENTRY_BYTES;
const NODE_LIMIT = (BLOCK_BYTES - NODE_ENTRIES_AT) / INDEX_ENTRY_BYTES;
/** So many entries have numbers beside their hashes in 53 bits; an index of two levels has room for no more, either. */
const MAX_INDEXED = 2 ** 22;

export interface FolderBlocks {
  readonly content: Buffer;
  /** Whether it has an index: the inode says so, too. */
  readonly indexed: boolean;
}

/**
 * A folder's blocks; those of one that does not fit one block with an index, as the kernel makes it
 * (fs/ext4/namei.c).
 */
export function folderContent(tree: InodeTree, folder: number, parent: number): FolderBlocks {
  const entries = tree.children(folder);
  const bytes = entries.reduce((sum, entry) => sum + lengthOf(tree.nameLength(entry)), lengthOf(1) + lengthOf(2));
  const index =
    bytes <= BLOCK_BYTES || entries.length > MAX_INDEXED ? undefined : indexOf(tree, folder, parent, entries);
  if (index !== undefined) return { content: index, indexed: true };
  const plain = new EntryBlocks(tree);
  plain.addName('.', tree.ino(folder));
  plain.addName('..', parent);
  for (const entry of entries) plain.add(entry);
  return { content: plain.finish(), indexed: false };
}

/** An entry's bytes: its fields, its name, and what aligns the next. */
function lengthOf(nameLength: number): number {
  return (8 + nameLength + 3) & ~3;
}

/** Entries one after the other, none across a block's end, the last of each block filling it up. */
class EntryBlocks {
  readonly #tree: InodeTree;
  readonly #blocks: Buffer[] = [];
  #block = Buffer.alloc(BLOCK_BYTES);
  #offset = 0;
  #last = 0;

  constructor(tree: InodeTree) {
    this.#tree = tree;
  }

  addName(name: '.' | '..', ino: number): void {
    this.#block.write(name, this.#begin(name.length, ino, fileTypes.folder));
  }

  /** @returns whether it began a new block */
  add(entry: number): boolean {
    const { length } = this.#blocks;
    const inode = this.#tree.inodeOf(entry);
    const at = this.#begin(this.#tree.nameLength(entry), this.#tree.ino(inode), fileTypes[this.#tree.kind(inode)]);
    this.#tree.copyName(entry, this.#block, at);
    return this.#blocks.length > length;
  }

  finish(): Buffer {
    this.#close();
    return Buffer.concat(this.#blocks);
  }

  /** @returns where the name belongs in the block */
  #begin(nameLength: number, ino: number, type: number): number {
    const length = lengthOf(nameLength);
    if (this.#offset + length > BLOCK_BYTES) {
      this.#close();
      this.#block = Buffer.alloc(BLOCK_BYTES);
      this.#offset = 0;
    }
    this.#block.writeUInt32LE(ino, this.#offset);
    this.#block.writeUInt16LE(length, this.#offset + 4);
    this.#block.writeUInt8(nameLength, this.#offset + 6);
    this.#block.writeUInt8(type, this.#offset + 7);
    this.#last = this.#offset;
    this.#offset += length;
    return this.#last + 8;
  }

  #close(): void {
    this.#block.writeUInt16LE(BLOCK_BYTES - this.#last, this.#last + 4);
    this.#blocks.push(this.#block);
  }
}

/** A block below, and the lowest hash in it. */
interface Child {
  readonly hash: number;
  readonly block: number;
}

/**
 * Root, nodes where there are too many leaves for it alone, and leaves in the order of hashes; undefined where they
 * are too many.
 */
function indexOf(tree: InodeTree, folder: number, parent: number, entries: readonly number[]): Buffer | undefined {
  const leaves = new EntryBlocks(tree);
  const hashes: number[] = [];
  let previous = -1;
  for (const { entry, hash } of byHash(tree, entries)) {
    const isNew = leaves.add(entry);
    // The lowest bit says that names with this hash are in the block before, too.
    if (isNew) hashes.push(hash === previous ? hash + 1 : hash);
    else if (previous === -1) hashes.push(0);
    previous = hash;
  }
  const nodes = hashes.length <= ROOT_LIMIT ? 0 : Math.ceil(hashes.length / NODE_LIMIT);
  if (nodes > ROOT_LIMIT) return undefined;
  const children = hashes.map((hash, index) => ({ hash, block: 1 + nodes + index }));
  const blocks: Buffer[] = [];
  const tops: Child[] = nodes === 0 ? children : [];
  for (let node = 0; node < nodes; node += 1) {
    const part = children.slice(node * NODE_LIMIT, (node + 1) * NODE_LIMIT);
    tops.push({ hash: part[0]?.hash ?? 0, block: 1 + node });
    const block = Buffer.alloc(BLOCK_BYTES);
    // To what reads entry by entry it is one, of no file.
    block.writeUInt16LE(BLOCK_BYTES, 4);
    writeIndex(block, NODE_ENTRIES_AT, NODE_LIMIT, part);
    blocks.push(block);
  }
  return Buffer.concat([rootBlock(tree.ino(folder), parent, nodes === 0 ? 0 : 1, tops), ...blocks, leaves.finish()]);
}

/** By hash, and by name where hashes are the same. */
function* byHash(
  tree: InodeTree,
  entries: readonly number[],
): Generator<{ readonly entry: number; readonly hash: number }> {
  const name = Buffer.alloc(255);
  const keys = Float64Array.from(entries, (entry, index) => {
    tree.copyName(entry, name, 0);
    return nameHash(name, tree.nameLength(entry)) * (MAX_INDEXED / 2) + index;
  }).sort();
  for (const key of keys) {
    const half = Math.floor(key / MAX_INDEXED);
    yield { entry: entries[key - half * MAX_INDEXED] ?? 0, hash: half * 2 };
  }
}

/** fs/ext4/namei.c, struct dx_root. */
function rootBlock(ino: number, parent: number, levels: number, children: readonly Child[]): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  block.writeUInt32LE(ino, 0);
  block.writeUInt16LE(12, 4);
  block.writeUInt8(1, 6);
  block.writeUInt8(fileTypes.folder, 7);
  block.write('.', 8);
  block.writeUInt32LE(parent, 12);
  block.writeUInt16LE(BLOCK_BYTES - 12, 16);
  block.writeUInt8(2, 18);
  block.writeUInt8(fileTypes.folder, 19);
  block.write('..', 20);
  block.writeUInt8(HASH_VERSION, 28);
  block.writeUInt8(INFO_BYTES, 29);
  block.writeUInt8(levels, 30);
  writeIndex(block, ROOT_ENTRIES_AT, ROOT_LIMIT, children);
  return block;
}

/** The first entry's hash is what it may be at least: in its place is how many entries there are and may be. */
function writeIndex(block: Buffer, at: number, limit: number, children: readonly Child[]): void {
  children.forEach(({ hash, block: child }, index) => {
    block.writeUInt32LE(hash, at + index * INDEX_ENTRY_BYTES);
    block.writeUInt32LE(child, at + index * INDEX_ENTRY_BYTES + 4);
  });
  block.writeUInt16LE(limit, at);
  block.writeUInt16LE(children.length, at + 2);
}
