import { messageOf } from '../../system/errors.ts';
import { plural } from '../../text/plural.ts';
import type { ByteReader } from '../../streams/byte-reader.ts';
import { collectGarbage } from '../../system/collect-garbage.ts';
import { Crc64 } from '../tar/crc64.ts';
import { layerSize, LayerTree, type Content } from './layer-tree.ts';
import { printable } from '../../text/printable.ts';
import type { Spool } from '../../streams/spool.ts';
import { TarReader, type TarEntry } from '../tar/tar-reader.ts';
import type { Fragment } from '../tar/sparse.ts';
import { TarSplitWriter } from '../tar/tar-split.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';

/** By then the objects of entries that are done with take some 20 MB. To collect them takes some 10 ms. */
const COLLECT_AFTER_ENTRIES = 16_384;

/** Where the contents of files go. They are appended one after the other, each from the start of a block. */
export interface ContentStore {
  /** Begins a file's content. @returns the number of its first block */
  begin(): number;
  append(bytes: Buffer): void;
  appendZeros(count: number): void;
  /** Fills up the last block. */
  end(): void;
  /** Bytes that were appended before, from an offset of the disk on. */
  readBack(offset: number, length: number): Iterable<Buffer>;
}

/** A layer's tar that is on the disk as a whole, or is being put there while it is read. */
export interface TarOnDisk {
  /** The first byte, at the start of a block. */
  readonly offset: number;
  /** The disk's, which is also that of tars: files that begin at multiples of it are taken from there. */
  readonly blockBytes: number;
}

export interface UnpackedLayer {
  /** Its root is the layer's `diff` folder. */
  readonly tree: InodeTree;
  /** `tar-split.json.gz`. */
  readonly tarSplit: Spool;
  readonly sizeBytes: number;
  /** How many bytes of the tar on the disk are also files of the layer, in whole blocks. */
  readonly sharedBytes: number;
}

/** A part of a file, and where it lies in the layer's tar. */
interface TarPart {
  readonly offset: number;
  readonly tarOffset: number;
  readonly length: number;
}

/** A file that cannot be taken from the tar on the disk, because it has holes there or something behind its end. */
interface CopiedFile {
  readonly inode: number;
  readonly size: number;
  readonly parts: readonly TarPart[];
}

/**
 * Unpacks a layer's tar as dockerd would, into a tree whose contents are in `store`, and makes the tar-split from which
 * the same tar can be assembled again.
 * @param tarSplit is emptied first
 * @param onDisk where the tar itself is on the disk, if it is: then its files are not appended to `store` once more
 * @throws Error naming the entry
 */
export async function unpackLayer(
  source: ByteReader,
  store: ContentStore,
  tarSplit: Spool,
  onDisk?: TarOnDisk,
): Promise<UnpackedLayer> {
  const layer = new LayerTree();
  tarSplit.clear();
  const split = new TarSplitWriter(tarSplit);
  const copied: CopiedFile[] = [];
  let sharedBytes = 0;
  const roomOf = (size: number): number =>
    onDisk === undefined ? 0 : Math.ceil(size / onDisk.blockBytes) * onDisk.blockBytes;
  let last: CopiedFile | undefined;
  const tar = new TarReader(source, (bytes) => {
    // What follows a file is its padding. Mapped into memory, a file must end with zeros.
    if (last !== undefined && bytes.some((byte) => byte !== 0)) {
      copied.push(last);
      sharedBytes -= roomOf(last.size);
    }
    last = undefined;
    split.raw(bytes);
  });
  let entry: TarEntry | undefined;
  let inside = false;
  let entries = 0;
  try {
    for (;;) {
      inside = false;
      const next = await tar.next();
      if (next === undefined) break;
      entry = next;
      inside = true;
      const content = layer.add(entry);
      if (content === undefined) await keepRaw(tar, split);
      else if (entry.fragments !== undefined && onDisk !== undefined)
        copied.push(await passSparse(tar, split, source, entry, content));
      else if (entry.fragments !== undefined)
        layer.tree.setBlock(content.inode, await unpackSparse(tar, split, store, entry, content.path));
      else if (entry.size > 0 && onDisk !== undefined) {
        const { size } = entry;
        const { inode } = content;
        const tarOffset = source.position;
        const crc = new Crc64();
        for (let piece = await tar.payload(); piece !== undefined; piece = await tar.payload()) crc.update(piece);
        split.file(content.path, size, crc.digest());
        const copy = { inode, size, parts: [{ offset: 0, tarOffset, length: size }] };
        if (tarOffset % onDisk.blockBytes !== 0) copied.push(copy);
        else {
          layer.tree.setBlock(inode, (onDisk.offset + tarOffset) / onDisk.blockBytes);
          sharedBytes += roomOf(size);
          if (size % onDisk.blockBytes !== 0) last = copy;
        }
      } else if (entry.size > 0) {
        const crc = new Crc64();
        layer.tree.setBlock(content.inode, store.begin());
        for (let piece = await tar.payload(); piece !== undefined; piece = await tar.payload()) {
          crc.update(piece);
          store.append(piece);
        }
        store.end();
        split.file(content.path, entry.size, crc.digest());
      }
      await split.drained();
      entries += 1;
      if (entries % COLLECT_AFTER_ENTRIES === 0) collectGarbage();
    }
    while (await tar.readOn()) await split.drained();
  } catch (error) {
    throw entry === undefined
      ? error
      : new Error(`${inside ? '' : 'after '}entry '${printable(entry.name.toString('latin1'))}': ${messageOf(error)}`, {
          cause: error,
        });
  }
  await split.finish();
  if (onDisk !== undefined) for (const file of copied) layer.tree.setBlock(file.inode, copyFile(file, store, onDisk));
  return { tree: layer.tree, tarSplit, sizeBytes: layerSize(layer.tree), sharedBytes };
}

/** Copies a file out of the tar on the disk. @returns its first block */
function copyFile({ size, parts }: CopiedFile, store: ContentStore, onDisk: TarOnDisk): number {
  if (size === 0) return 0;
  const block = store.begin();
  let position = 0;
  for (const { offset, tarOffset, length } of parts) {
    store.appendZeros(offset - position);
    for (const piece of store.readBack(onDisk.offset + tarOffset, length)) store.append(piece);
    position = offset + length;
  }
  store.appendZeros(size - position);
  store.end();
  return block;
}

async function keepRaw(tar: TarReader, split: TarSplitWriter): Promise<void> {
  for (let piece = await tar.payload(); piece !== undefined; piece = await tar.payload()) {
    split.raw(piece);
    await split.drained();
  }
}

/**
 * The file gets its holes. The tar-split gets the map, so that only the payload is put into the tar again. dockerd's
 * own tar-split does not support sparse files: `docker save` cannot restore such a layer, whoever unpacked it.
 */
async function unpackSparse(
  tar: TarReader,
  split: TarSplitWriter,
  store: ContentStore,
  entry: TarEntry,
  path: string,
): Promise<number> {
  const fragments = entry.fragments ?? [];
  const block = entry.size === 0 ? 0 : store.begin();
  let position = 0;
  const crc = await readFragments(
    tar,
    fragments,
    ({ offset, length }) => {
      store.appendZeros(offset - position);
      position = offset + length;
    },
    (bytes) => store.append(bytes),
  );
  store.appendZeros(entry.size - position);
  store.end();
  split.file(path, entry.size, crc.digest(), fragments);
  return block;
}

/** The same for a tar on the disk, from which the file is copied once the tar is whole. */
async function passSparse(
  tar: TarReader,
  split: TarSplitWriter,
  source: ByteReader,
  entry: TarEntry,
  { inode, path }: Content,
): Promise<CopiedFile> {
  const fragments = entry.fragments ?? [];
  const parts: TarPart[] = [];
  let tarOffset = source.position;
  const crc = await readFragments(
    tar,
    fragments,
    ({ offset, length }) => {
      parts.push({ offset, tarOffset, length });
      tarOffset += length;
    },
    () => undefined,
  );
  split.file(path, entry.size, crc.digest(), fragments);
  return { inode, size: entry.size, parts };
}

/** Reads the payload of a sparse file, fragment by fragment. @returns the CRC of all of it */
async function readFragments(
  tar: TarReader,
  fragments: readonly Fragment[],
  onFragment: (fragment: Fragment) => void,
  onBytes: (bytes: Buffer) => void,
): Promise<Crc64> {
  const crc = new Crc64();
  let rest: Buffer = Buffer.alloc(0);
  for (const fragment of fragments) {
    onFragment(fragment);
    for (let missing = fragment.length; missing > 0;) {
      if (rest.length === 0) {
        const piece = await tar.payload();
        if (piece === undefined)
          throw new Error(`expected ${plural(missing, 'more byte')} of a sparse file, found the end of its payload`);
        rest = piece;
      }
      const part = rest.subarray(0, missing);
      crc.update(part);
      onBytes(part);
      rest = rest.subarray(part.length);
      missing -= part.length;
    }
  }
  return crc;
}
