import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { MAX_EXPANSION } from '../../disk/limits.ts';
import { ByteReader } from '../../streams/byte-reader.ts';
import { compressionOf, decompress, MAGIC_BYTES } from '../../streams/decompress.ts';
import { printable } from '../../text/printable.ts';
import { TarReader, type TarEntry } from '../tar/tar-reader.ts';

interface DiskInLayer {
  /** Of all of its bytes. */
  readonly layerDigest: string;
  readonly disk: { readonly digest: string; readonly sizeBytes: number };
}

/** Files that are more than the disk: a layer has none, but for what a tar ends with. */
const MORE_BYTES = 1024 * 1024;

/**
 * Takes the disk out of a layer: the one file that it has, in /disk. Its name is used for nothing.
 * @param source the layer's bytes, compressed or not
 * @param sizeBytes how many they are
 * @param path of the new file that gets the disk
 * @param onSize is told of the disk's size before it is written, and may throw
 * @throws Error with what was expected and what was found
 */
export async function diskInLayer(
  source: AsyncIterable<Uint8Array>,
  sizeBytes: number,
  path: string,
  onSize: (sizeBytes: number) => void,
  onBytes: (bytes: number) => void,
): Promise<DiskInLayer> {
  const hash = createHash('sha256');
  const compressed = new ByteReader(
    heard(source, (piece) => {
      hash.update(piece);
      onBytes(piece.length);
    }),
  );
  const start = await compressed.exactly(MAGIC_BYTES);
  const compression = compressionOf(start);
  if (compression === 'xz') throw new Error('expected a layer that is not compressed, or with gzip or zstd, found xz');
  const most = compression === 'none' ? sizeBytes : sizeBytes * MAX_EXPANSION + MORE_BYTES;
  let bytes = 0;
  const unpacked = heard(decompress(rest(start, compressed), compression), ({ length }) => {
    bytes += length;
    if (bytes > most) throw new Error(`expected at most ${MAX_EXPANSION} times the bytes of the layer, found more`);
  });
  const reader = new ByteReader(unpacked);
  const tar = new TarReader(reader, () => undefined);
  const output = await open(path, 'wx', 0o600);
  try {
    let disk: DiskInLayer['disk'] | undefined;
    for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
      if (isFolderOfDisk(entry)) continue;
      if (!isDisk(entry) || disk !== undefined)
        throw new Error(
          `expected one file in /disk and nothing else, found ${disk === undefined ? '' : 'also '}'${printable(entry.name.toString('latin1')).slice(0, 80)}'`,
        );
      onSize(entry.size);
      disk = await copy(tar, entry, output);
    }
    while (await tar.readOn());
    if (disk === undefined) throw new Error('expected a file in /disk, found none');
    return { layerDigest: `sha256:${hash.digest('hex')}`, disk };
  } finally {
    await output.close();
    await reader.close();
    await compressed.close();
  }
}

async function copy(tar: TarReader, { size }: TarEntry, output: FileHandle): Promise<DiskInLayer['disk']> {
  const hash = createHash('sha256');
  for (let piece = await tar.payload(); piece !== undefined; piece = await tar.payload()) {
    hash.update(piece);
    await output.writeFile(piece);
  }
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes: size };
}

function isFolderOfDisk({ type, name }: TarEntry): boolean {
  return type === '5' && /^(?:\.?\/)?(?:disk\/?)?$/.test(name.toString('latin1'));
}

function isDisk({ type, name, fragments }: TarEntry): boolean {
  const isFile = type === '0' && fragments === undefined;
  return isFile && /^(?:\.?\/)?disk\/(?!\.\.?$|\.wh\.)[^/]+$/s.test(name.toString('latin1'));
}

async function* rest(start: Buffer, reader: ByteReader): AsyncGenerator<Uint8Array> {
  yield start;
  for (let piece = await reader.some(PIECE_BYTES); piece !== undefined; piece = await reader.some(PIECE_BYTES))
    yield piece;
}

const PIECE_BYTES = 1024 * 1024;

async function* heard(
  source: AsyncIterable<Uint8Array>,
  onPiece: (piece: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    onPiece(piece);
    yield piece;
  }
}
