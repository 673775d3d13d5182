import { messageOf } from '../../system/errors.ts';
import { plural } from '../../text/plural.ts';
import type { ByteReader } from '../../streams/byte-reader.ts';
import { Crc64 } from '../tar/crc64.ts';
import { layerSize, LayerTree } from './layer-tree.ts';
import { printable } from '../../text/printable.ts';
import type { Spool } from '../../streams/spool.ts';
import { TarReader, type TarEntry } from '../tar/tar-reader.ts';
import { TarSplitWriter } from '../tar/tar-split.ts';
import type { InodeTree } from '../inodes/inode-tree.ts';

/** Where the contents of files go. They are appended one after the other, each from the start of a block. */
export interface ContentStore {
  /** Begins a file's content. @returns the number of its first block */
  begin(): number;
  append(bytes: Buffer): void;
  appendZeros(count: number): void;
  /** Fills up the last block. */
  end(): void;
}

export interface UnpackedLayer {
  /** Its root is the layer's `diff` folder. */
  readonly tree: InodeTree;
  /** `tar-split.json.gz`. */
  readonly tarSplit: Spool;
  readonly sizeBytes: number;
}

/**
 * Unpacks a layer's tar as dockerd would, into a tree whose contents are in `store`, and makes the tar-split from which
 * the same tar can be assembled again.
 * @param tarSplit is emptied first
 * @throws Error naming the entry
 */
export async function unpackLayer(source: ByteReader, store: ContentStore, tarSplit: Spool): Promise<UnpackedLayer> {
  const layer = new LayerTree();
  tarSplit.clear();
  const split = new TarSplitWriter(tarSplit);
  const tar = new TarReader(source, (bytes) => split.raw(bytes));
  let entry: TarEntry | undefined;
  let inside = false;
  try {
    for (;;) {
      inside = false;
      const next = await tar.next();
      if (next === undefined) break;
      entry = next;
      inside = true;
      const content = layer.add(entry);
      if (content === undefined) await keepRaw(tar, split);
      else if (entry.fragments !== undefined)
        layer.tree.setBlock(content.inode, await unpackSparse(tar, split, store, entry, content.path));
      else if (entry.size > 0) {
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
  return { tree: layer.tree, tarSplit, sizeBytes: layerSize(layer.tree) };
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
  const crc = new Crc64();
  const block = entry.size === 0 ? 0 : store.begin();
  let position = 0;
  let rest: Buffer = Buffer.alloc(0);
  for (const fragment of fragments) {
    store.appendZeros(fragment.offset - position);
    for (let missing = fragment.length; missing > 0;) {
      if (rest.length === 0) {
        const piece = await tar.payload();
        if (piece === undefined)
          throw new Error(`expected ${plural(missing, 'more byte')} of a sparse file, found the end of its payload`);
        rest = piece;
      }
      const part = rest.subarray(0, missing);
      crc.update(part);
      store.append(part);
      rest = rest.subarray(part.length);
      missing -= part.length;
    }
    position = fragment.offset + fragment.length;
  }
  store.appendZeros(entry.size - position);
  store.end();
  split.file(path, entry.size, crc.digest(), fragments);
  return block;
}
