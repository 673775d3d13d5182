import { createHash } from 'node:crypto';
import type { BlockWriter } from './block-writer.ts';
import type { Spool } from '../../streams/spool.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';

export interface FilesystemOptions {
  readonly label: string;
  /** 16 bytes, derived from the content. */
  readonly uuid: Buffer;
  /** The whole filesystem's size in bytes; undefined for as small as possible. */
  readonly sizeBytes: number | undefined;
}

/**
 * Turns contents that were appended to a disk into a filesystem: it writes folders and inodes tree by tree, so that
 * only one tree at a time has to be in memory.
 */
export interface FilesystemWriter {
  /**
   * An inode number that is reserved for one folder of the last tree, so that it can be the parent of folders written
   * before.
   */
  readonly reserved: number;
  /**
   * Writes a folder and everything below it, and numbers the inodes. Inodes that already have a number are skipped.
   * @param parent the inode number of the folder that contains it
   * @returns its own inode number
   * @throws Error naming the file that the filesystem cannot hold
   */
  write(tree: InodeTree, folder: number, parent: number): number;
  /**
   * Writes the last tree, from its root, and the filesystem's tables.
   * @returns the filesystem's size in bytes.
   * @throws Error if it has no room
   */
  finish(tree: InodeTree, options: FilesystemOptions): number;
}

export interface Filesystem {
  /** Its block size, in bytes. */
  readonly blockBytes: number;
  /** The largest size that it can have. */
  readonly maxBytes: number;
  /**
   * Begins a filesystem on an empty disk, leaving room at the front.
   * @param spool where inodes wait until all contents have been written
   */
  open(disk: BlockWriter, spool: Spool): FilesystemWriter;
}

/** A UUID (version 8, which is for custom schemes) that is derived from a digest. */
export function uuidFrom(seed: string): Buffer {
  const uuid = createHash('sha256').update(`docker-preloader uuid ${seed}`).digest().subarray(0, 16);
  uuid.writeUInt8((uuid.readUInt8(6) & 0x0f) | 0x80, 6);
  uuid.writeUInt8((uuid.readUInt8(8) & 0x3f) | 0x80, 8);
  return uuid;
}

/** include/linux/kdev_t.h, new_encode_dev. */
export function encodeDevice({ major, minor }: { readonly major: number; readonly minor: number }): number {
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff)
    throw new Error(`expected a device number up to 4095:1048575, found ${major}:${minor}`);
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** The type bits of st_mode. */
export const typeBits = {
  folder: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  character: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
} as const;
