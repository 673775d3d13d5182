import { statSync } from 'node:fs';
import { MANIFEST_NAME, parseManifest, type Manifest } from '../disk/manifest.ts';
import { MAX_READ_AHEAD_BYTES, parseReadAhead, READ_AHEAD_NAME, sizeOfList } from '../disk/read-ahead.ts';
import { asChainID, asDiffID, asImageID, sha256, type ChainID } from '../docker/ids.ts';
import { MAX_CONFIG_BYTES, parseImageConfig } from '../docker/image-config.ts';
import { metadataPaths, TAR_SPLIT } from '../docker/layer-db.ts';
import { isCacheId, overlayPaths } from '../docker/overlay2.ts';
import { parseReferenceStore } from '../docker/reference-store.ts';
import { isENOENT, messageOf, PreloaderError } from '../system/errors.ts';
import { parseSuperblock, SUPERBLOCK_BYTES, type Superblock } from '../system/superblock.ts';
import { openDiskBytes } from './disk-bytes.ts';
import { readSmall, type DiskFiles } from './disk-files.ts';
import { ErofsFiles } from './erofs-files.ts';
import { Ext4Files } from './ext4-files.ts';
import { FolderFiles } from './folder-files.ts';
import { contentProblem } from './layer-content.ts';
import { metadataProblems } from './metadata-digests.ts';

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
  readonly manifest: { readonly digest: string; readonly formatVersion: string; readonly createdBy: string; readonly priority: number; readonly bases: Manifest['bases'] } | null;
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

const SMALL_BYTES = 4096;
const MAX_REPOSITORIES_BYTES = 32 * 1024 * 1024;
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

/**
 * Reads what is on a disk: a raw image, qcow2 or block device without mounting it, or a folder where it is mounted.
 * @param deep compares every layer's bytes with its DiffID, and all metadata with the manifest
 * @throws PreloaderError where it is no preload disk
 */
export async function inspectDisk(path: string, deep: boolean, onStep: (text: string) => void = () => undefined): Promise<Inspection> {
  try {
    const { format, superblock, files } = openDisk(path);
    try {
      return await new Inspector(files, onStep).inspect(format, superblock, deep);
    } finally {
      files.close();
    }
  } catch (error) {
    if (isENOENT(error)) throw new PreloaderError('DISK_INVALID', `${path}: a disk expected, found no such file`, { cause: error });
    if (error instanceof PreloaderError && error.code === 'FORMAT_NEWER') throw error;
    throw new PreloaderError('DISK_INVALID', `${path}: ${messageOf(error)}`, { cause: error });
  }
}

function openDisk(path: string): { readonly format: Inspection['format']; readonly superblock: Superblock | undefined; readonly files: DiskFiles } {
  if (statSync(path).isDirectory()) return { format: 'folder', superblock: undefined, files: new FolderFiles(path) };
  const bytes = openDiskBytes(path);
  try {
    const superblock = parseSuperblock(bytes.read(0, SUPERBLOCK_BYTES));
    if (superblock?.filesystem === 'ext4') return { format: bytes.format, superblock, files: new Ext4Files(bytes) };
    if (superblock?.filesystem === 'erofs') return { format: bytes.format, superblock, files: new ErofsFiles(bytes) };
    throw new Error(`a raw image or qcow2 of ext4 or erofs expected, found something else: another filesystem can be inspected where it is mounted`);
  } catch (error) {
    bytes.close();
    throw error;
  }
}

class Inspector {
  readonly #files: DiskFiles;
  readonly #onStep: (text: string) => void;
  readonly #problems: string[] = [];
  readonly #paths = metadataPaths('');

  constructor(files: DiskFiles, onStep: (text: string) => void) {
    this.#files = files;
    this.#onStep = onStep;
  }

  async inspect(format: Inspection['format'], superblock: Superblock | undefined, deep: boolean): Promise<Inspection> {
    const found = this.#manifest();
    if (this.#files.list(this.#paths.root).length === 0) throw new Error('the folders image/overlay2 and overlay2, as dockerd writes them, expected, found none');
    const images = this.#images();
    const layers = this.#layers(images);
    if (superblock?.dirty === true) this.#problems.push('the filesystem was not unmounted cleanly: the agent refuses such a disk');
    this.#checkChains(images, layers, found?.manifest);
    if (deep) {
      for (const layer of layers) await this.#checkLayer(layer);
      if (found !== undefined) this.#problems.push(...metadataProblems(this.#files, found.manifest));
    }
    const sizes = new Map(layers.map(({ chainId, sizeBytes }) => [chainId, sizeBytes]));
    return {
      format,
      filesystem: superblock?.filesystem ?? null,
      label: superblock?.label ?? null,
      uuid: superblock?.uuid ?? null,
      sizeBytes: superblock?.sizeBytes ?? null,
      manifest: found === undefined ? null : { digest: found.digest, formatVersion: found.manifest.formatVersion, createdBy: found.manifest.createdBy, priority: found.manifest.priority, bases: found.manifest.bases },
      images: images.map((image) => ({ ...image, sizeBytes: image.layers.reduce((sum, chain) => sum + (sizes.get(chain) ?? 0), 0) })),
      layers,
      readAhead: this.#readAhead(),
      sharedBytes: layers.reduce((sum, { usedBy, sizeBytes }) => sum + (usedBy > 1 ? sizeBytes : 0), 0),
      deep,
      problems: this.#problems,
    };
  }

  #manifest(): { readonly manifest: Manifest; readonly digest: string } | undefined {
    const bytes = readSmall(this.#files, MANIFEST_NAME, MAX_MANIFEST_BYTES);
    return bytes === undefined ? undefined : parseManifest(bytes);
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

  #images(): Omit<InspectedImage, 'sizeBytes'>[] {
    const names = new Map<string, string[]>();
    const text = readSmall(this.#files, this.#paths.repositories, MAX_REPOSITORIES_BYTES)?.toString('utf8');
    try {
      for (const [reference, id] of text === undefined ? [] : parseReferenceStore(text).references) names.set(id, [...(names.get(id) ?? []), reference]);
    } catch (error) {
      this.#problems.push(`${this.#paths.repositories}: ${messageOf(error)}`);
    }
    const images: Omit<InspectedImage, 'sizeBytes'>[] = [];
    for (const name of this.#files.list(this.#paths.images)) {
      const id = asImageID(`sha256:${name}`);
      try {
        const config = readSmall(this.#files, `${this.#paths.images}/${name}`, MAX_CONFIG_BYTES);
        if (id === undefined || config === undefined) throw new Error('a configuration named by its digest expected, found something else');
        images.push({ id, references: (names.get(id) ?? []).sort(), layers: parseImageConfig(config, id).chains });
      } catch (error) {
        this.#problems.push(`${this.#paths.images}/${name.slice(0, 100)}: ${messageOf(error)}`);
      }
    }
    return images;
  }

  #layers(images: readonly Omit<InspectedImage, 'sizeBytes'>[]): InspectedLayer[] {
    const layers: InspectedLayer[] = [];
    for (const name of this.#files.list(this.#paths.layers)) {
      const chain = asChainID(`sha256:${name}`);
      // dockerd leaves folders of interrupted work here: `<chain>-<random>-removing`.
      if (chain === undefined) continue;
      const read = (file: string): string => readSmall(this.#files, `${this.#paths.layer(chain)}/${file}`, SMALL_BYTES)?.toString('utf8') ?? '';
      const diffID = asDiffID(read('diff'));
      const cacheId = read('cache-id').trim();
      const size = read('size');
      const parent = asChainID(read('parent')) ?? null;
      if (diffID === undefined || !isCacheId(cacheId) || !/^\d{1,15}$/.test(size)) {
        this.#problems.push(`layer ${chain}: a record with diff, cache-id and size expected, found a damaged one`);
        continue;
      }
      if (sha256(`${parent ?? ''} ${diffID}`) !== chain && !(parent === null && (diffID as string) === (chain as string))) this.#problems.push(`layer ${chain}: the ChainID of its parent and DiffID expected, found another`);
      layers.push({ chainId: chain, diffId: diffID, parent, cacheId, sizeBytes: Number(size), usedBy: images.filter((image) => image.layers.includes(chain)).length });
    }
    return layers;
  }

  /** Each image's layers must be here or on a base disk. */
  #checkChains(images: readonly Omit<InspectedImage, 'sizeBytes'>[], layers: readonly InspectedLayer[], manifest: Manifest | undefined): void {
    const there = new Set(layers.map(({ chainId }) => chainId));
    const onBases = new Set((manifest?.bases ?? []).flatMap((base) => base.layers));
    for (const image of images) {
      const missing = image.layers.filter((chain) => !there.has(chain) && !onBases.has(chain));
      if (missing.length > 0) this.#problems.push(`image ${image.id}: ${missing.length} of its ${image.layers.length} layers are neither here nor on a base disk`);
    }
  }

  async #checkLayer({ chainId, diffId, cacheId }: InspectedLayer): Promise<void> {
    this.#onStep(`layer ${chainId}`);
    const tarSplit = `${this.#paths.layer(asChainID(chainId) as ChainID)}/${TAR_SPLIT}`;
    const folder = `${overlayPaths('').layer(cacheId)}/diff`;
    const problem = await contentProblem(diffId, this.#files.pieces(tarSplit), (name) => this.#files.pieces(`${folder}/${name}`));
    if (problem !== undefined) this.#problems.push(`layer ${chainId}: ${problem}`);
  }
}
