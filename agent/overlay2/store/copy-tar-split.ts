import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { readTarSplit, type LabelledTarSplit } from '../../disk/read-tar-split.ts';
import { newSha256 } from '../../system/digest.ts';
import { PIECE_BYTES, readPiece } from '../../system/read-files.ts';
import { writeAll } from '../../system/write-files.ts';

/**
 * Copies a layer's tar-split from its disk to a new file, or over an existing one. If the disk is pinned, the digest is
 * taken while copying, so that the bytes that are compared are those that are copied.
 * @throws DiskFault if the disk's file cannot be read, or is not what it should be; system errors of the target
 */
export function copyTarSplit(source: LabelledTarSplit, target: string, mode: number): void {
  const fd = openSync(target, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW, mode);
  try {
    readTarSplit(source, (piece) => writeAll(fd, piece));
  } finally {
    closeSync(fd);
  }
}

/**
 * Whether a file of the store is what `copyTarSplit` would write.
 * @throws DiskFault if the disk's file cannot be read; system errors of the store's file
 */
export function isCopyOf(path: string, source: LabelledTarSplit): boolean {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    if (fstatSync(fd).size !== source.sizeBytes) return false;
    let offset = 0;
    let same = true;
    readTarSplit(source, (piece) => {
      const present = Buffer.allocUnsafe(piece.length);
      same &&= readPiece(fd, present, offset) === piece.length && present.equals(piece);
      offset += piece.length;
    });
    return same;
  } finally {
    closeSync(fd);
  }
}

/** Digests of files of the store, with their state at that time, because a daemon looks again and again. */
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
    const found = `sha256:${hash.digest().toString('hex')}`;
    compared.set(path, { digest: found, as });
    return found === digest;
  } finally {
    closeSync(fd);
  }
}
