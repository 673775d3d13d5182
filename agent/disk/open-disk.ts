import { statSync } from 'node:fs';
import { parseSuperblock, SUPERBLOCK_BYTES, type Superblock } from './superblock.ts';
import { openImageBytes } from './image-bytes.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { ErofsReader } from './erofs-reader.ts';
import { Ext4Reader } from './ext4-reader.ts';
import { FolderReader } from './folder-reader.ts';

/** A disk that can be read. */
export interface OpenDisk {
  readonly format: 'raw' | 'qcow2' | 'folder';
  readonly superblock: Superblock | undefined;
  readonly files: FilesystemReader;
  readonly sizeBytes: number;
  /** How many bytes it takes where it is stored. */
  readonly storedBytes: number;
}

/**
 * Opens a raw image, qcow2 or block device, or a folder on which a disk is mounted.
 * @throws Error if it is no preload disk
 */
export function openDisk(path: string): OpenDisk {
  if (statSync(path).isDirectory()) {
    const files = new FolderReader(path);
    const sizeBytes = files.capacity();
    return { format: 'folder', superblock: undefined, files, sizeBytes, storedBytes: sizeBytes };
  }
  const bytes = openImageBytes(path);
  try {
    const superblock = parseSuperblock(bytes.read(0, SUPERBLOCK_BYTES));
    if (superblock === undefined)
      throw new Error(
        `expected a raw image or qcow2 of ext4 or erofs, found something else: another filesystem can be inspected where it is mounted`,
      );
    const Reader = superblock.filesystem === 'ext4' ? Ext4Reader : ErofsReader;
    const { format, sizeBytes, storedBytes } = bytes;
    return { format, superblock, files: new Reader(bytes, superblock.sizeBytes), sizeBytes, storedBytes };
  } catch (error) {
    bytes.close();
    throw error;
  }
}
