import { createHash } from 'node:crypto';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { decompress } from '../../streams/decompress.ts';
import { printable } from '../../text/printable.ts';
import { archiveError } from './archive-error.ts';
import type { LayerForm, LayerSource } from './input-image.ts';

/** A blob that takes room of its own. */
export interface ApartBlob {
  readonly digest: string;
  readonly source: LayerSource;
  /** Whether it is the tar that is compressed in the archive. */
  readonly decompress: boolean;
}

/**
 * Copies a layer of an archive as it is, or its tar, and checks it against its digest.
 * @param onBytes gets the blob's bytes
 * @returns how many there are
 * @throws PreloaderError naming the archive, the entry and what was expected
 */
export async function copyBlob(blob: ApartBlob, onBytes: (bytes: Buffer) => void): Promise<number> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of blob.decompress ? tarOf(blob.source) : blob.source.archive.stream(blob.source.entry)) {
    hash.update(piece);
    onBytes(Buffer.from(piece.buffer, piece.byteOffset, piece.length));
    sizeBytes += piece.length;
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== blob.digest) {
    const { archive, entry } = blob.source;
    throw archiveError(
      archive.name,
      `entry '${printable(entry)}': expected content with digest ${blob.digest}, found ${found}: do not change the archive during a build`,
    );
  }
  return sizeBytes;
}

/**
 * Reads a layer that is not unpacked, because another form of it is, and checks that it is that layer.
 * @throws PreloaderError naming the archive, the entry and what was expected
 */
export async function checkForm({ diffID, source }: LayerForm): Promise<void> {
  const hash = createHash('sha256');
  await readTar(source, (piece) => hash.update(piece));
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== diffID)
    throw archiveError(
      source.archive.name,
      `entry '${printable(source.entry)}': expected a layer with digest ${diffID}, as in the image's configuration, found ${found}`,
    );
}

/** The size of a layer's tar in bytes, undefined if the archive does not have the layer. @throws PreloaderError */
export async function tarBytesOf(source: LayerSource): Promise<number | undefined> {
  const { stored } = source;
  if (stored === undefined || stored.compression === 'none') return stored?.sizeBytes;
  let sizeBytes = 0;
  await readTar(source, (piece) => (sizeBytes += piece.length));
  return sizeBytes;
}

async function readTar(source: LayerSource, onPiece: (piece: Uint8Array) => void): Promise<void> {
  const { archive, entry } = source;
  try {
    for await (const piece of tarOf(source)) onPiece(piece);
  } catch (error) {
    throw error instanceof PreloaderError
      ? error
      : archiveError(archive.name, `entry '${printable(entry)}': ${messageOf(error)}`, error);
  }
}

function tarOf({ archive, entry, stored }: LayerSource): AsyncIterable<Uint8Array> {
  return decompress(archive.stream(entry), stored?.compression ?? 'none');
}
