import { createHash } from 'node:crypto';
import { PreloaderError, messageOf } from '../../system/errors.ts';
import { ByteReader } from '../../streams/byte-reader.ts';
import type { DiffID } from '../../docker/ids.ts';
import type { LayerSource } from '../archive/input-image.ts';
import { compressionOf, decompress, MAGIC_BYTES } from '../../streams/decompress.ts';
import { archiveError } from '../archive/archive-error.ts';
import { printable } from '../../text/printable.ts';
import type { Spool } from '../../streams/spool.ts';
import { unpackLayer, type ContentStore, type TarOnDisk, type UnpackedLayer } from './unpack-layer.ts';

interface TarSharing {
  readonly onDisk?: TarOnDisk;
  readonly onTar?: (bytes: Uint8Array) => void;
}

interface VerifiedLayer extends UnpackedLayer {
  /** The size of the layer's tar. */
  readonly tarBytes: number;
}

/**
 * Unpacks a layer of an archive into `store` and checks it against its digests.
 * @param tarSplit gets the layer's tar-split
 * @param onRead is called with the number of bytes read from the archive
 * @param onDisk where the layer's tar is on the disk, if its files are to be taken from there
 * @param onTar is called with the tar's bytes before the files in them are looked at
 * @throws PreloaderError naming the archive, the entry and what was expected
 */
export async function unpackVerified(
  layer: { readonly diffID: DiffID; readonly source: LayerSource },
  store: ContentStore,
  tarSplit: Spool,
  onRead: (bytes: number) => void,
  { onDisk, onTar }: TarSharing = {},
): Promise<VerifiedLayer> {
  const { archive, entry, blobDigest } = layer.source;
  const fail = (message: string, cause?: unknown): PreloaderError =>
    archiveError(archive.name, `entry '${printable(entry)}': ${message}`, cause);
  const blobHash = createHash('sha256');
  const diffHash = createHash('sha256');
  const compressed = new ByteReader(archive.stream(entry));
  const start = await compressed.exactly(MAGIC_BYTES);
  const compression = compressionOf(start);
  // dockerd also takes this for bzip2 (moby, go-archive/compression, Detect).
  if (start.toString('latin1', 0, 3) === 'BZh') {
    throw fail(
      'expected a layer as a tar, plain or compressed with gzip, zstd or xz; found bzip2: save it uncompressed',
    );
  }
  const checkBlob = blobDigest !== undefined && compression !== 'none';
  const source = checked(start, compressed, (bytes) => {
    if (checkBlob) blobHash.update(bytes);
    onRead(bytes.length);
  });
  const tar = new ByteReader(
    watched(decompress(source, compression), (bytes) => {
      diffHash.update(bytes);
      onTar?.(bytes);
    }),
  );
  let unpacked: UnpackedLayer;
  try {
    unpacked = await unpackLayer(tar, store, tarSplit, onDisk);
    // Bytes after the compressed data belong to the blob as well.
    if (checkBlob)
      for (
        let piece = await compressed.some(CHUNK_BYTES);
        piece !== undefined;
        piece = await compressed.some(CHUNK_BYTES)
      )
        blobHash.update(piece);
  } catch (error) {
    await tar.close().catch(() => undefined);
    await compressed.close().catch(() => undefined);
    if (error instanceof PreloaderError) throw error;
    throw fail(messageOf(error), error);
  }
  const diffID = `sha256:${diffHash.digest('hex')}`;
  if (diffID !== layer.diffID)
    throw fail(`expected a layer with digest ${layer.diffID}, as in the image's configuration, found ${diffID}`);
  const found = `sha256:${blobHash.digest('hex')}`;
  if (checkBlob && found !== blobDigest) throw fail(`expected content with digest ${blobDigest}, found ${found}`);
  return { ...unpacked, tarBytes: tar.position };
}

const CHUNK_BYTES = 1024 * 1024;

async function* checked(
  start: Buffer,
  reader: ByteReader,
  onPiece: (bytes: Buffer) => void,
): AsyncGenerator<Uint8Array> {
  for (let piece: Buffer | undefined = start; piece !== undefined; piece = await reader.some(CHUNK_BYTES)) {
    onPiece(piece);
    yield piece;
  }
}

async function* watched(
  source: AsyncIterable<Uint8Array>,
  onPiece: (bytes: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    onPiece(piece);
    yield piece;
  }
}
