import { createHash } from 'node:crypto';
import type { BlockWriter } from './block-writer.ts';
import type { Spool } from '../archive/spool.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';

export interface FilesystemOptions {
  readonly label: string;
  /** 16 bytes, derived from the content. */
  readonly uuid: Buffer;
  /** The whole filesystem's size in bytes; as small as possible where undefined. */
  readonly sizeBytes: number | undefined;
}

/**
 * Writes what makes a filesystem of the contents that were appended to a disk: folders, and inodes, tree by tree, so that
 * no more than one has to be in memory.
 */
export interface FilesystemWriter {
  /** An inode number for one folder of the last tree, which may be the parent of folders written before it. */
  readonly reserved: number;
  /**
   * Writes a folder and all below it but what has an inode number already; gives the numbers.
   * @param parent the number of the folder that it lies in
   * @returns its own
   * @throws Error naming the file that the filesystem cannot hold
   */
  write(tree: InodeTree, folder: number, parent: number): number;
  /** Writes the last tree, from its root, and the rest. @returns the filesystem's size in bytes. @throws Error where it has no room */
  finish(tree: InodeTree, options: FilesystemOptions): number;
}

export interface Filesystem {
  /** What it can hold, itself included. */
  readonly maxBytes: number;
  /**
   * Leaves room at the front of a disk that has nothing yet. @param spool where inodes wait until all contents are
   * written
   */
  open(disk: BlockWriter, spool: Spool): FilesystemWriter;
}

/** A UUID (version 8, of one's own making) that follows from a digest. */
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
