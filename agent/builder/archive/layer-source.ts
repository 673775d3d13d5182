import { compressionOf, MAGIC_BYTES } from '../../streams/decompress.ts';
import { digestOf } from '../../streams/digest-of.ts';
import type { Archive } from './archive.ts';
import type { LayerSource, StoredForm } from './input-image.ts';

/**
 * Looks at a layer in an archive: whether it is compressed. If the archive does not give the digest of a compressed
 * one, all of it is read.
 * @param blobDigest sha256 of the bytes as they are stored, if the archive gives it
 * @throws PreloaderError if the archive cannot be read
 */
export async function layerSource(
  archive: Archive,
  entry: string,
  blobDigest: string | undefined,
): Promise<LayerSource> {
  const seen = known.get(archive) ?? new Map<string, Promise<StoredForm | undefined>>();
  known.set(archive, seen);
  const form = seen.get(entry) ?? formOf(archive, entry, blobDigest);
  seen.set(entry, form);
  return { archive, entry, blobDigest, stored: await form };
}

/** Images share layers, and each is looked at once. */
const known = new WeakMap<Archive, Map<string, Promise<StoredForm | undefined>>>();

async function formOf(
  archive: Archive,
  entry: string,
  blobDigest: string | undefined,
): Promise<StoredForm | undefined> {
  // A layer that a base disk has may be left out of the archive.
  if (!archive.has(entry)) return undefined;
  const sizeBytes = archive.sizeOf(entry);
  const compression = compressionOf(archive.startOf(entry, MAGIC_BYTES));
  const isRegistrys = compression === 'gzip' || compression === 'zstd';
  const digest = isRegistrys ? (blobDigest ?? (await digestOf(archive.stream(entry)))) : undefined;
  return { compression, digest, sizeBytes };
}
