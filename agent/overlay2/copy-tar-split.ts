import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { contentFault, DiskFault } from '../disk/disk-fault.ts';
import type { TarSplit } from '../disk/read-disk.ts';
import { newSha256 } from '../system/digest.ts';
import { messageOf } from '../system/errors.ts';
import { PIECE_BYTES, readPiece, writeAll } from '../system/files.ts';

/** A tar-split with the label of its disk. */
type LabelledTarSplit = TarSplit & { readonly label: string };

/**
 * Copies a layer's tar-split from its disk to a new file, or over one that is there. What is copied is what was compared:
 * of a pinned disk, its digest is taken on the way.
 * @throws DiskFault where the disk's file cannot be read, or is not what it should be; system errors of the target
 */
export function copyTarSplit(source: LabelledTarSplit, target: string, mode: number): void {
  const fd = openSync(target, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, mode);
  try {
    readSource(source, (piece) => writeAll(fd, piece));
  } finally {
    closeSync(fd);
  }
}

/** Reads what `copyTarSplit` would copy. @throws DiskFault */
export function checkTarSplit(source: LabelledTarSplit): void {
  readSource(source, () => undefined);
}

/**
 * Whether a file of the store is what `copyTarSplit` would make of it.
 * @throws DiskFault where the disk's file cannot be read; system errors of the store's
 */
export function isCopyOf(path: string, source: LabelledTarSplit): boolean {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    if (fstatSync(fd).size !== source.sizeBytes) return false;
    let offset = 0;
    let same = true;
    readSource(source, (piece) => {
      const present = Buffer.allocUnsafe(piece.length);
      same &&= readPiece(fd, present, offset) === piece.length && present.equals(piece);
      offset += piece.length;
    });
    return same;
  } finally {
    closeSync(fd);
  }
}

/** What files of the store were found to have, and how they were then: a daemon looks again and again. */
const compared = new Map<string, { readonly digest: string; readonly as: string }>();

/** Whether a file of the store has the content that a pinned tar-split must have. @throws system errors */
export function hasDigest(path: string, digest: string): boolean {
  const hash = newSha256();
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const { ino, size, ctimeMs } = fstatSync(fd);
    const as = `${ino} ${size} ${ctimeMs}`;
    const known = compared.get(path);
    if (known?.as === as) return known.digest === digest;
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    for (let offset = 0, length = PIECE_BYTES; length === PIECE_BYTES; offset += PIECE_BYTES) {
      length = readPiece(fd, piece, offset);
      hash.update(piece.subarray(0, length));
    }
    const found = digestOf(hash);
    compared.set(path, { digest: found, as });
    return found === digest;
  } finally {
    closeSync(fd);
  }
}

const digestOf = (hash: ReturnType<typeof newSha256>): string => `sha256:${hash.digest().toString('hex')}`;

function readSource(source: LabelledTarSplit, take: (piece: Buffer) => void): void {
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
  const found = hash === undefined ? undefined : digestOf(hash);
  if (found !== digest) throw new DiskFault(source.label, 'DISK_CONTENT', contentFault(path, digest, found));
}

function ofDisk<T>({ label, path }: LabelledTarSplit, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new DiskFault(label, 'DISK_LAYOUT', `${path}: ${messageOf(error)}`, { cause: error });
  }
}
