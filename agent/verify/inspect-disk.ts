import type { Manifest } from '../disk/manifest.ts';
import { isLabel } from '../config/label.ts';
import { SMALL_FILE_BYTES } from '../disk/limits.ts';
import { readTree, type DiskContent } from '../disk/read-disk.ts';
import { MAX_READ_AHEAD_BYTES, parseReadAhead, READ_AHEAD_NAME, sizeOfList } from '../disk/read-ahead-list.ts';
import { asChainID, asDiffID, sha256, type ChainID } from '../docker/ids.ts';
import { metadataPaths, TAR_SPLIT } from '../docker/layer-db.ts';
import { isCacheId, overlayPaths } from '../docker/layer-folders.ts';
import { isENOENT, messageOf, PreloaderError } from '../system/errors.ts';
import { plural } from '../text/plural.ts';
import { filesBelow, readSmall, type FilesystemReader } from '../disk/filesystem-reader.ts';
import { contentProblem } from './layer-content.ts';
import { metadataProblems } from './metadata-digests.ts';
import { openDisk, type OpenDisk } from '../disk/open-disk.ts';
import { ReadBudget } from './read-budget.ts';

interface InspectedLayer {
  readonly chainId: string;
  readonly diffId: string;
  readonly parent: string | null;
  readonly cacheId: string;
  readonly sizeBytes: number;
  /** How many of the disk's images stand on it. */
  readonly usedBy: number;
}

interface InspectedImage {
  readonly id: string;
  readonly references: readonly string[];
  /** ChainIDs, base first, those on base disks too. */
  readonly layers: readonly string[];
  /** Of its layers that are on this disk. */
  readonly sizeBytes: number;
}

/** What is on a disk. `inspect --json` prints this. */
export interface Inspection {
  readonly format: 'raw' | 'qcow2' | 'folder';
  readonly filesystem: string | null;
  readonly label: string | null;
  readonly uuid: string | null;
  readonly sizeBytes: number | null;
  /** Null where dockerd filled the disk, as in 2018. */
  readonly manifest: {
    readonly digest: string;
    readonly formatVersion: string;
    readonly createdBy: string;
    readonly priority: number;
    readonly bases: Manifest['bases'];
  } | null;
  readonly images: readonly InspectedImage[];
  readonly layers: readonly InspectedLayer[];
  /** What is read into memory right after boot; null where the disk has no list of it. */
  readonly readAhead: { readonly files: number; readonly bytes: number } | null;
  /** Bytes of layers that more than one image stands on. */
  readonly sharedBytes: number;
  /** Whether contents were compared with their digests. */
  readonly deep: boolean;
  readonly problems: readonly string[];
}

/**
 * Reads what is on a disk: a raw image, qcow2 or block device without mounting it, or a folder where it is mounted.
 * @param deep compares every layer's bytes with its DiffID, and all metadata with the manifest
 * @throws PreloaderError where it is no preload disk
 */
export async function inspectDisk(
  path: string,
  deep: boolean,
  onStep: (text: string) => void = () => undefined,
): Promise<Inspection> {
  try {
    const disk = openDisk(path);
    try {
      return await new Inspector(disk, onStep).inspect(deep);
    } finally {
      disk.files.close();
    }
  } catch (error) {
    if (isENOENT(error))
      throw new PreloaderError('DISK_INVALID', `${path}: a disk expected, found no such file`, { cause: error });
    if (error instanceof PreloaderError && error.code === 'FORMAT_NEWER') throw error;
    throw new PreloaderError('DISK_INVALID', `${path}: ${messageOf(error)}`, { cause: error });
  }
}

class Inspector {
  readonly #disk: OpenDisk;
  readonly #files: FilesystemReader;
  readonly #onStep: (text: string) => void;
  readonly #problems: string[] = [];
  readonly #paths = metadataPaths('');

  constructor(disk: OpenDisk, onStep: (text: string) => void) {
    this.#disk = disk;
    this.#files = disk.files;
    this.#onStep = onStep;
  }

  async inspect(deep: boolean): Promise<Inspection> {
    const { format, superblock, tree } = this.#disk;
    const found = readTree('', tree);
    this.#problems.push(...found.findings.map(({ message }) => message.replace(/^disk : /, '')));
    const images = imagesOf(found);
    const layers = this.#layers(images);
    this.#checkDevice();
    this.#checkChains(images, layers, found.manifest);
    if (deep) {
      const budget = new ReadBudget(this.#disk.storedBytes);
      for (const layer of layers) await this.#checkLayer(layer, budget);
      if (found.manifest !== undefined) this.#problems.push(...metadataProblems(this.#files, found.manifest, budget));
    }
    const sizes = new Map(layers.map(({ chainId, sizeBytes }) => [chainId, sizeBytes]));
    return {
      format,
      filesystem: superblock?.filesystem ?? null,
      label: superblock?.label ?? null,
      uuid: superblock?.uuid ?? null,
      sizeBytes: superblock?.sizeBytes ?? null,
      manifest:
        found.manifest === undefined
          ? null
          : {
              digest: found.manifestDigest ?? '',
              formatVersion: found.manifest.formatVersion,
              createdBy: found.manifest.createdBy,
              priority: found.manifest.priority,
              bases: found.manifest.bases,
            },
      images: images.map((image) => ({
        ...image,
        sizeBytes: image.layers.reduce((sum, chain) => sum + (sizes.get(chain) ?? 0), 0),
      })),
      layers,
      readAhead: this.#readAhead(),
      sharedBytes: layers.reduce((sum, { usedBy, sizeBytes }) => sum + (usedBy > 1 ? sizeBytes : 0), 0),
      deep,
      problems: this.#problems,
    };
  }

  /** For what else the agent leaves a disk out (boot/discover.ts). */
  #checkDevice(): void {
    const { superblock, sizeBytes } = this.#disk;
    if (superblock === undefined) return;
    if (!isLabel(superblock.label))
      this.#problems.push(
        `label ${JSON.stringify(superblock.label)}: at most 16 letters, digits, dots, dashes and underscores expected; the agent leaves such a disk out`,
      );
    if (superblock.dirty)
      this.#problems.push('the filesystem was not unmounted cleanly: the agent refuses such a disk');
    if (superblock.sizeBytes > sizeBytes)
      this.#problems.push(
        `a disk of at least ${superblock.sizeBytes} bytes expected, found ${sizeBytes}: copy the disk again`,
      );
  }

  #readAhead(): Inspection['readAhead'] {
    try {
      const bytes = readSmall(this.#files, READ_AHEAD_NAME, MAX_READ_AHEAD_BYTES);
      return bytes === undefined ? null : sizeOfList(parseReadAhead(bytes.toString('utf8'), READ_AHEAD_NAME));
    } catch (error) {
      this.#problems.push(`${READ_AHEAD_NAME}: ${messageOf(error)}`);
      return null;
    }
  }

  #layers(images: readonly Omit<InspectedImage, 'sizeBytes'>[]): InspectedLayer[] {
    const layers: InspectedLayer[] = [];
    const usedBy = new Map<string, number>();
    for (const image of images)
      for (const chain of new Set(image.layers)) usedBy.set(chain, (usedBy.get(chain) ?? 0) + 1);
    for (const name of this.#files.list(this.#paths.layers)) {
      const chain = asChainID(`sha256:${name}`);
      // dockerd leaves folders of interrupted work here: `<chain>-<random>-removing`.
      if (chain === undefined) continue;
      const record = this.#record(chain);
      const uses = usedBy.get(chain) ?? 0;
      // Of those that images stand on, the agent's reader has told.
      if (record === undefined && uses === 0)
        this.#problems.push(`layer ${chain}: a record with diff, cache-id and size expected, found a damaged one`);
      if (record === undefined) continue;
      const { diffId, parent } = record;
      if (sha256(`${parent ?? ''} ${diffId}`) !== chain && !(parent === null && diffId === (chain as string)))
        this.#problems.push(`layer ${chain}: the ChainID of its parent and DiffID expected, found another`);
      layers.push({ chainId: chain, ...record, usedBy: uses });
    }
    return layers;
  }

  #record(chain: ChainID): Pick<InspectedLayer, 'diffId' | 'parent' | 'cacheId' | 'sizeBytes'> | undefined {
    try {
      const read = (file: string): string =>
        readSmall(this.#files, `${this.#paths.layer(chain)}/${file}`, SMALL_FILE_BYTES)?.toString('utf8') ?? '';
      const diffId = asDiffID(read('diff'));
      const cacheId = read('cache-id').trim();
      const size = read('size');
      const parent = asChainID(read('parent')) ?? null;
      return diffId === undefined || !isCacheId(cacheId) || !/^\d{1,15}$/.test(size)
        ? undefined
        : { diffId, parent, cacheId, sizeBytes: Number(size) };
    } catch {
      return undefined;
    }
  }

  /** Each image's layers must be here or on a base disk. */
  #checkChains(
    images: readonly Omit<InspectedImage, 'sizeBytes'>[],
    layers: readonly InspectedLayer[],
    manifest: Manifest | undefined,
  ): void {
    const there = new Set(layers.map(({ chainId }) => chainId));
    const onBases = new Set((manifest?.bases ?? []).flatMap((base) => base.layers));
    for (const image of images) {
      const missing = image.layers.filter((chain) => !there.has(chain) && !onBases.has(chain));
      if (missing.length > 0)
        this.#problems.push(
          `image ${image.id}: ${missing.length} of its ${plural(image.layers.length, 'layer')} ${missing.length === 1 ? 'is' : 'are'} neither here nor on a base disk`,
        );
    }
  }

  async #checkLayer({ chainId, diffId, cacheId }: InspectedLayer, budget: ReadBudget): Promise<void> {
    this.#onStep(`layer ${chainId}`);
    const record = filesBelow(this.#files, this.#paths.layer(asChainID(chainId) as ChainID));
    const content = filesBelow(this.#files, `${overlayPaths('').layer(cacheId)}/diff`);
    const problem = await contentProblem(diffId, record, TAR_SPLIT, content, budget);
    if (problem !== undefined) this.#problems.push(`layer ${chainId}: ${problem}`);
  }
}

function imagesOf({ images, references }: DiskContent): Omit<InspectedImage, 'sizeBytes'>[] {
  const names = new Map<string, string[]>();
  for (const [reference, id] of references) names.set(id, [...(names.get(id) ?? []), reference]);
  return [...images].map(([id, { chains }]) => ({ id, references: (names.get(id) ?? []).sort(), layers: chains }));
}
