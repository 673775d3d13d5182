import { createHash } from 'node:crypto';
import { blobFile, type ImageTarget } from '../../disk/image-targets.ts';
import { filesBelow, type FolderContent } from '../../disk/filesystem-reader.ts';
import { openDisk, type OpenDisk } from '../../disk/open-disk.ts';
import { readWholeDisk, type WholeDisk } from '../../disk/read-whole-disk.ts';
import type { Descriptor } from '../../docker/image-manifest.ts';
import { metadataPaths, TAR_SPLIT } from '../../docker/layer-db.ts';
import { overlayPaths } from '../../docker/layer-folders.ts';
import { isENOENT, noSuchFile, PreloaderError, reasonOf, shownPath } from '../../system/errors.ts';
import { assemble, assembledBytes } from '../../verify/assemble-layer.ts';
import { ReadBudget } from '../../verify/read-budget.ts';
import type { TarContent } from '../tar/write-tar.ts';

/** A layer that is to be given back. */
type Layer = ImageTarget['layers'][number];

/** A disk of which images are given back: layers as the blobs that it has, or put together from their files. */
export class ExportedDisk {
  readonly path: string;
  readonly #disk: OpenDisk;
  readonly #whole: WholeDisk;
  readonly #budget: ReadBudget;

  /** @throws PreloaderError DISK_INVALID */
  constructor(path: string) {
    this.path = path;
    let disk: OpenDisk | undefined;
    try {
      disk = openDisk(path);
      this.#whole = readWholeDisk(disk.files);
    } catch (error) {
      disk?.files.close();
      if (isENOENT(error))
        throw new PreloaderError('DISK_INVALID', `${shownPath(path)}: expected a disk, found ${noSuchFile(path)}`, {
          cause: error,
        });
      if (error instanceof PreloaderError && error.code === 'FORMAT_NEWER') throw error;
      throw new PreloaderError('DISK_INVALID', `${path}: ${reasonOf(error)}`, { cause: error });
    }
    this.#disk = disk;
    this.#budget = new ReadBudget(disk.storedBytes);
  }

  get images(): WholeDisk['content']['images'] {
    return this.#whole.content.images;
  }

  get references(): WholeDisk['content']['references'] {
    return this.#whole.content.references;
  }

  get targets(): WholeDisk['targets'] {
    return this.#whole.targets;
  }

  /** Labels of the disks that have layers which this one leaves out. */
  get bases(): readonly string[] {
    return this.#whole.content.manifest?.bases.map(({ label }) => label) ?? [];
  }

  /** The blob of a layer, as a registry had it; undefined where the disk has none. */
  blob({ digest, sizeBytes }: Descriptor): TarContent | undefined {
    const file = blobFile(digest);
    const isListed = this.#whole.content.manifest?.blobs?.some((one) => one.digest === digest) ?? false;
    if (!isListed || this.#disk.files.kindOf(file) !== 'file' || this.#disk.files.sizeOf(file) !== sizeBytes)
      return undefined;
    return { sizeBytes, pieces: () => this.#verified(file, digest, this.#files().pieces(file)) };
  }

  /** The tar of a layer, put together from its files; undefined where the disk does not have the layer. */
  async tar({ chain, diffID }: Pick<Layer, 'chain' | 'diffID'>): Promise<TarContent | undefined> {
    const recorded = this.#whole.layers.find((layer) => layer.chain === chain && layer.diffID === diffID);
    if (recorded === undefined) return undefined;
    const tarSplit = `${metadataPaths('').layer(chain)}/${TAR_SPLIT}`;
    const content = filesBelow(this.#files(), `${overlayPaths('').layer(recorded.cacheId)}/diff`);
    const onLine = (bytes: number): void => this.#budget.spend(bytes);
    let sizeBytes: number;
    try {
      sizeBytes = await assembledBytes(this.#files().pieces(tarSplit), onLine);
    } catch (error) {
      throw this.#invalid(`layer ${chain}: ${reasonOf(error)}`, error);
    }
    return {
      sizeBytes,
      pieces: () => this.#verified(`layer ${chain}`, diffID, assemble(this.#files().pieces(tarSplit), content, onLine)),
    };
  }

  close(): void {
    this.#disk.files.close();
  }

  #files(): FolderContent {
    return this.#budget.within(this.#disk.files);
  }

  /** Behind the last piece their digest is compared. @throws PreloaderError DISK_INVALID */
  async *#verified(
    what: string,
    digest: string,
    pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256');
    try {
      for await (const piece of pieces) {
        hash.update(piece);
        yield piece;
      }
    } catch (error) {
      throw this.#invalid(`${what}: ${reasonOf(error)}`, error);
    }
    const found = `sha256:${hash.digest('hex')}`;
    if (found !== digest) throw this.#invalid(`${what}: expected content with digest ${digest}, found ${found}`);
  }

  #invalid(message: string, cause?: unknown): PreloaderError {
    return new PreloaderError('DISK_INVALID', `${this.path}: ${message}`, { cause });
  }
}
