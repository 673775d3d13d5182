import { BLOCK_BYTES } from './block-writer.ts';
import { nameHash } from './ext4-hash.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';

const fileTypes = { file: 1, folder: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;
/** Half MD4. The superblock says that bytes are taken as unsigned. */
export const HASH_VERSION = 1;
const INFO_BYTES = 8;
/**
 * Where an index's entries begin: in its root, behind the two dots and the index's parameters, and in its other blocks.
 */
const ROOT_ENTRIES_AT = 32;
const NODE_ENTRIES_AT = 8;
const INDEX_ENTRY_BYTES = 8;
const ROOT_LIMIT = (BLOCK_BYTES - ROOT_ENTRIES_AT) / INDEX_ENTRY_BYTES;
const NODE_LIMIT = (BLOCK_BYTES - NODE_ENTRIES_AT) / INDEX_ENTRY_BYTES;
/**
 * For this many entries, a number fits beside the hash in 53 bits. An index of two levels has no room for more either.
 */
const MAX_INDEXED = 2 ** 22;

export interface FolderBlocks {
  readonly content: Buffer;
  /** Whether it has an index, which the inode has to say as well. */
  readonly indexed: boolean;
}

/** A folder's blocks. If they are more than one, they have an index as the kernel makes it (fs/ext4/namei.c). */
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

/** The bytes of an entry: its fields, its name, and padding up to the next one. */
function lengthOf(nameLength: number): number {
  return (8 + nameLength + 3) & ~3;
}

/** Writes entries one after the other. None crosses the end of a block, and the last one of each block fills it up. */
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

  /** @returns where in the block the name belongs */
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

/** A block of the next level, and the lowest hash in it. */
interface Child {
  readonly hash: number;
  readonly block: number;
}

/**
 * The blocks of a folder with an index: the root, nodes if there are too many leaves for the root alone, and the leaves
 * in the order of hashes. Undefined if there are too many leaves for two levels.
 */
function indexOf(tree: InodeTree, folder: number, parent: number, entries: readonly number[]): Buffer | undefined {
  const leaves = new EntryBlocks(tree);
  const hashes: number[] = [];
  let previous = -1;
  for (const { entry, hash } of byHash(tree, entries)) {
    const isNew = leaves.add(entry);
    // The lowest bit says that the block before also has names with this hash.
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
    // To a reader of plain entries, the block is one entry without a file.
    block.writeUInt16LE(BLOCK_BYTES, 4);
    writeIndex(block, NODE_ENTRIES_AT, NODE_LIMIT, part);
    blocks.push(block);
  }
  return Buffer.concat([rootBlock(tree.ino(folder), parent, nodes === 0 ? 0 : 1, tops), ...blocks, leaves.finish()]);
}

/** The entries by hash, and by name where hashes are the same. */
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

/**
 * The first entry needs no hash, since it takes everything below the second. The number of entries and their limit are
 * stored in its place.
 */
function writeIndex(block: Buffer, at: number, limit: number, children: readonly Child[]): void {
  children.forEach(({ hash, block: child }, index) => {
    block.writeUInt32LE(hash, at + index * INDEX_ENTRY_BYTES);
    block.writeUInt32LE(child, at + index * INDEX_ENTRY_BYTES + 4);
  });
  block.writeUInt16LE(limit, at);
  block.writeUInt16LE(children.length, at + 2);
}
