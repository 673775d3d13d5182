import { messageOf, PreloaderError } from '../../system/errors.ts';
import { digestOf } from '../../streams/digest-of.ts';
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
export async function copyBlob(blob: ApartBlob, onBytes: (bytes: Uint8Array) => void): Promise<number> {
  const { archive, entry } = blob.source;
  let sizeBytes = 0;
  const found = await digestOf(blob.decompress ? readTar(blob.source) : archive.stream(entry), (piece) => {
    onBytes(piece);
    sizeBytes += piece.length;
  });
  if (found !== blob.digest)
    throw archiveError(
      archive.name,
      `entry '${printable(entry)}': expected content with digest ${blob.digest}, found ${found}: do not change the archive during a build`,
    );
  return sizeBytes;
}

/**
 * Reads a layer that is not unpacked, because another form of it is, and checks that it is that layer.
 * @throws PreloaderError naming the archive, the entry and what was expected
 */
export async function checkForm({ diffID, source }: LayerForm): Promise<void> {
  const found = await digestOf(readTar(source));
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
  for await (const { length } of readTar(source)) sizeBytes += length;
  return sizeBytes;
}

/** A layer's tar, whatever it is compressed with. What is wrong with it names the archive and the entry. */
async function* readTar({ archive, entry, stored }: LayerSource): AsyncGenerator<Uint8Array> {
  try {
    yield* decompress(archive.stream(entry), stored?.compression ?? 'none');
  } catch (error) {
    throw error instanceof PreloaderError
      ? error
      : archiveError(archive.name, `entry '${printable(entry)}': ${messageOf(error)}`, error);
  }
}
