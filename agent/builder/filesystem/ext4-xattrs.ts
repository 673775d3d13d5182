import { BLOCK_BYTES } from './block-writer.ts';
import { storedXattrs, type StoredXattr } from './stored-xattrs.ts';

/** Room in an inode of 256 bytes behind its 160 bytes of fields. */
const INODE_XATTR_BYTES = 96;
const MAGIC = 0xea020000;
const ENTRY_BYTES = 16;
const BLOCK_HEADER_BYTES = 32;

/** Zeros behind the last entry. */
const END_BYTES = 4;
const INODE_ROOM = INODE_XATTR_BYTES - 4 - END_BYTES;
const BLOCK_ROOM = BLOCK_BYTES - BLOCK_HEADER_BYTES - END_BYTES;

/**
 * Encodes an inode's attributes: in the inode if they fit, else in a block of their own, and in both if there are too
 * many for either (fs/ext4/xattr.h).
 * @throws Error
 */
export function encodeXattrs(xattrs: ReadonlyMap<string, Buffer>): {
  readonly inInode?: Buffer;
  readonly block?: Buffer;
} {
  const list = storedXattrs(xattrs, 'ext4');
  if (bytesOf(list) <= INODE_ROOM) return { inInode: encodeInInode(list) };
  if (bytesOf(list) <= BLOCK_ROOM) return { block: encodeBlock(list) };
  const inInode: StoredXattr[] = [];
  for (const one of list.toSorted((a, b) => bytesOf([b]) - bytesOf([a]))) {
    if (bytesOf([...inInode, one]) <= INODE_ROOM) inInode.push(one);
  }
  const rest = list.filter((one) => !inInode.includes(one));
  if (bytesOf(rest) > BLOCK_ROOM)
    throw new Error(
      `expected at most ${BLOCK_ROOM} bytes of xattrs, all that ext4 has room for, found ${bytesOf(rest)}`,
    );
  return { inInode: encodeInInode(list.filter((one) => inInode.includes(one))), block: encodeBlock(rest) };
}

function bytesOf(list: readonly StoredXattr[]): number {
  return list.reduce((sum, { name, value }) => sum + ENTRY_BYTES + align4(name.length) + align4(value.length), 0);
}

function encodeInInode(list: readonly StoredXattr[]): Buffer {
  const inInode = Buffer.alloc(INODE_XATTR_BYTES);
  inInode.writeUInt32LE(MAGIC, 0);
  // Offsets count from the first entry.
  writeEntries(inInode.subarray(4), 0, list, false);
  return inInode;
}

function encodeBlock(list: readonly StoredXattr[]): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const hashes = writeEntries(block, BLOCK_HEADER_BYTES, list, true);
  block.writeUInt32LE(MAGIC, 0);
  block.writeUInt32LE(1, 4);
  block.writeUInt32LE(1, 8);
  block.writeUInt32LE(
    hashes.reduce((hash, one) => (rotate(hash, 16) ^ one) >>> 0, 0),
    12,
  );
  return block;
}

function writeEntries(area: Buffer, start: number, list: readonly StoredXattr[], hashed: boolean): number[] {
  let offset = start;
  let end = area.length;
  const hashes: number[] = [];
  for (const { prefix, name, value } of list) {
    end -= align4(value.length);
    area.writeUInt8(name.length, offset);
    area.writeUInt8(prefix, offset + 1);
    area.writeUInt16LE(value.length === 0 ? 0 : end, offset + 2);
    area.writeUInt32LE(value.length, offset + 8);
    name.copy(area, offset + ENTRY_BYTES);
    value.copy(area, end);
    if (hashed) {
      const hash = entryHash(name, area.subarray(end, end + align4(value.length)));
      area.writeUInt32LE(hash, offset + 12);
      hashes.push(hash);
    }
    offset += ENTRY_BYTES + align4(name.length);
  }
  return hashes;
}

/** The hash over the name's bytes and then the padded value's words (fs/ext4/xattr.c, ext4_xattr_hash_entry). */
function entryHash(name: Buffer, paddedValue: Buffer): number {
  let hash = 0;
  for (const byte of name) hash = (rotate(hash, 5) ^ byte) >>> 0;
  for (let offset = 0; offset < paddedValue.length; offset += 4)
    hash = (rotate(hash, 16) ^ paddedValue.readUInt32LE(offset)) >>> 0;
  return hash;
}

function rotate(value: number, bits: number): number {
  return ((value << bits) | (value >>> (32 - bits))) >>> 0;
}

function align4(length: number): number {
  return (length + 3) & ~3;
}
