import { closeSync, constants, openSync } from 'node:fs';
import { newSha256 } from '../system/digest.ts';
import { messageOf } from '../system/errors.ts';
import { PIECE_BYTES, readPiece } from '../system/read-files.ts';
import { contentFault, DiskFault } from './disk-fault.ts';
import type { TarSplit } from './read-disk.ts';

/** A tar-split with the label of its disk. */
export type LabelledTarSplit = TarSplit & { readonly label: string };

/**
 * Reads a layer's tar-split from its disk, piece by piece. If the disk is pinned, the digest is taken on the way. The
 * pieces count only if nothing is thrown in the end.
 * @throws DiskFault if the file cannot be read, or is not what it should be; whatever `take` throws
 */
export function readTarSplit(source: LabelledTarSplit, take: (piece: Buffer) => void): void {
  const { path, sizeBytes, digest } = source;
  const hash = digest === undefined ? undefined : newSha256();
  const fd = ofDisk(source, () => openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
  try {
    const piece = Buffer.allocUnsafe(Math.min(sizeBytes, PIECE_BYTES));
    for (let offset = 0; offset < sizeBytes; offset += piece.length) {
      const part = piece.subarray(0, Math.min(piece.length, sizeBytes - offset));
      const length = ofDisk(source, () => readPiece(fd, part, offset));
      if (length < part.length)
        throw new DiskFault(
          source.label,
          'DISK_LAYOUT',
          `${path}: expected ${sizeBytes} bytes, found only ${offset + length}`,
        );
      hash?.update(part);
      take(part);
    }
  } finally {
    closeSync(fd);
  }
  const found = hash === undefined ? undefined : `sha256:${hash.digest().toString('hex')}`;
  if (found !== digest) throw new DiskFault(source.label, 'DISK_CONTENT', contentFault(path, digest, found));
}

/** Reads a tar-split only to see whether it can be read and is what it should be. @throws DiskFault */
export function checkTarSplit(source: LabelledTarSplit): void {
  readTarSplit(source, () => undefined);
}

function ofDisk<T>({ label, path }: LabelledTarSplit, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new DiskFault(label, 'DISK_LAYOUT', `${path}: ${messageOf(error)}`, { cause: error });
  }
}
