import { closeSync, constants, openSync, readSync } from 'node:fs';

/** What the first 4 KiB of a filesystem say about it. */
export interface Superblock {
  readonly filesystem: 'ext4' | 'erofs';
  /** As it is stored, which may be any bytes. */
  readonly label: string;
  readonly uuid: string;
  readonly sizeBytes: number;
  /** ext4: whether there is a journal to replay (needs_recovery), or no journal, and it was not unmounted. */
  readonly dirty: boolean;
}

const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_BYTES = 4096;

/**
 * Reads the superblock of a device or file. Undefined if it has neither ext4 nor erofs. O_NONBLOCK, because opening an
 * empty drive must not wait.
 * @throws system errors of open and read
 */
export function readSuperblock(path: string): Superblock | undefined {
  const buffer = Buffer.alloc(SUPERBLOCK_BYTES);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const length = readSync(fd, buffer, 0, buffer.length, 0);
    return parseSuperblock(buffer.subarray(0, length));
  } finally {
    closeSync(fd);
  }
}

/** Parses the first 4 KiB of a device. */
export function parseSuperblock(start: Buffer): Superblock | undefined {
  if (start.length < SUPERBLOCK_BYTES) return undefined;
  const block = start.subarray(SUPERBLOCK_OFFSET);
  return parseExt4(block) ?? parseErofs(block);
}

/** Parses ext4's superblock (fs/ext4/ext4.h, struct ext4_super_block). */
function parseExt4(block: Buffer): Superblock | undefined {
  if (block.readUInt16LE(0x38) !== 0xef53) return undefined;
  const logBlockSize = block.readUInt32LE(0x18);
  const incompatible = block.readUInt32LE(0x60);
  const INCOMPAT_RECOVER = 0x4;
  const INCOMPAT_JOURNAL_DEV = 0x8;
  const INCOMPAT_64BIT = 0x80;
  const COMPAT_HAS_JOURNAL = 0x4;
  const STATE_VALID = 0x1;
  // The external journal of another filesystem is not a filesystem itself.
  if ((incompatible & INCOMPAT_JOURNAL_DEV) !== 0 || logBlockSize > 6) return undefined;
  const high = (incompatible & INCOMPAT_64BIT) === 0 ? 0 : block.readUInt32LE(0x150);
  const hasJournal = (block.readUInt32LE(0x5c) & COMPAT_HAS_JOURNAL) !== 0;
  const valid = (block.readUInt16LE(0x3a) & STATE_VALID) !== 0;
  return {
    filesystem: 'ext4',
    label: labelAt(block, 0x78),
    uuid: block.toString('hex', 0x68, 0x78),
    sizeBytes: (high * 2 ** 32 + block.readUInt32LE(0x4)) * 1024 * 2 ** logBlockSize,
    dirty: (incompatible & INCOMPAT_RECOVER) !== 0 || (!hasJournal && !valid),
  };
}

/** Parses erofs's superblock (fs/erofs/erofs_fs.h, struct erofs_super_block). */
function parseErofs(block: Buffer): Superblock | undefined {
  if (block.readUInt32LE(0) !== 0xe0f5e1e2) return undefined;
  const blockBits = block.readUInt8(12);
  if (blockBits < 9 || blockBits > 16) return undefined;
  return {
    filesystem: 'erofs',
    label: labelAt(block, 64),
    uuid: block.toString('hex', 48, 64),
    sizeBytes: block.readUInt32LE(36) * 2 ** blockBits,
    dirty: false,
  };
}

/** A label. It has 16 bytes, and a shorter one ends with a zero. */
function labelAt(block: Buffer, offset: number): string {
  const bytes = block.subarray(offset, offset + 16);
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end === -1 ? 16 : end);
}
