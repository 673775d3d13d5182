import { asChainID, asImageID, hexOf, type ChainID, type DiffID, type ImageID } from '../docker/ids.ts';
import { isRecord } from '../text/is-record.ts';
import { MAX_CONFIG_BYTES, parseImageConfig, type ImageConfig } from '../docker/image-config.ts';
import { TAR_SPLIT, type LayerRecord } from '../docker/layer-db.ts';
import { isCacheId } from '../docker/layer-folders.ts';
import { parseReference } from '../docker/reference.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { oneLine } from '../text/one-line.ts';
import { parseUntrusted } from '../text/parse-untrusted.ts';
import { plural } from '../text/plural.ts';
import type { Finding } from '../messages/finding.ts';
import {
  FREE_TAR_SPLIT_BYTES,
  MAX_HELD_BYTES,
  MAX_IMAGES,
  MAX_REFERENCES,
  MAX_REPOSITORIES_BYTES,
  MAX_SOURCES_BYTES,
  MAX_TAR_SPLIT_BYTES,
  SMALL_FILE_BYTES,
  TAR_SPLIT_BYTES_OF_NAME,
} from './limits.ts';
import { readManifest, type FoundManifest, type Manifest, type ManifestLayer } from './manifest.ts';
import type { FilesystemReader } from './filesystem-reader.ts';

/** A layer's tar-split on a disk, which is copied into the store. */
export interface TarSplit {
  readonly path: string;
  readonly sizeBytes: number;
  /** The digest that its content must have, if the disk is pinned. */
  readonly digest: string | undefined;
}

/** A layer as a disk has it. */
export interface DiskLayer extends LayerRecord {
  readonly label: string;
  /** The folder with the layer's files, on this machine. */
  readonly diffPath: string;
  readonly tarSplit: TarSplit | undefined;
  /** Where registries have the layer: the content of its file in `distribution/v2metadata-by-diffid`. */
  readonly registrySources: string | undefined;
}

/** An image as a disk has it. */
export interface DiskImage extends ImageConfig {
  readonly label: string;
  readonly config: Buffer;
  /** The files `parent`, `lastUpdated` and `builtLocally` of imagedb/metadata, as far as they exist. */
  readonly metadata: ReadonlyMap<string, Buffer>;
}

/** What is on a disk, as far as it is valid. The findings say what is not. */
export interface DiskContent {
  readonly label: string;
  readonly manifest: Manifest | undefined;
  readonly manifestDigest: string | undefined;
  /** Whether the disk's content is pinned or signed, so that each file counts only with its digest in the manifest. */
  readonly pinned: boolean;
  /** The fingerprint of the trusted key that has signed it, where that was asked. */
  readonly signedBy?: string;
  readonly images: ReadonlyMap<ImageID, DiskImage>;
  readonly layers: ReadonlyMap<ChainID, DiskLayer>;
  readonly references: ReadonlyMap<string, ImageID>;
  readonly findings: readonly Finding[];
}

const IMAGE_ROOT = 'image/overlay2';
/** This many faults of one disk are told one by one. The rest are counted. */
const MAX_FINDINGS = 50;
const METADATA_FILES = ['parent', 'lastUpdated', 'builtLocally'] as const;

/**
 * Reads what is on a disk, whether or not it is mounted, and trusts nothing of it. A bad entry makes its image
 * unusable.
 * @param found its manifest, if that was already read
 * @throws PreloaderError if the disk as a whole cannot be used
 */
export function readDisk(
  label: string,
  files: FilesystemReader,
  found: FoundManifest | undefined = readManifest(files),
): DiskContent {
  if (files.kindOf(IMAGE_ROOT) !== 'folder' || files.kindOf('overlay2') !== 'folder') {
    throw new PreloaderError(
      'DISK_LAYOUT',
      'expected the folders image/overlay2 and overlay2, as dockerd writes them, found none',
    );
  }
  const reader = new DiskReader(label, files, found?.manifest);
  reader.readImages();
  reader.readReferences();
  return {
    label,
    manifest: found?.manifest,
    manifestDigest: found?.digest,
    pinned: false,
    images: reader.images,
    layers: reader.layers,
    references: reader.references,
    findings: reader.findings,
  };
}

class DiskReader {
  readonly images = new Map<ImageID, DiskImage>();
  readonly layers = new Map<ChainID, DiskLayer>();
  readonly references = new Map<string, ImageID>();
  readonly #findings: Finding[] = [];
  #untold = 0;
  #heldBytes = 0;
  #tarSplitBytes = 0;
  readonly #capacity: number;
  readonly #label: string;
  readonly #files: FilesystemReader;
  readonly #seen = new Set<ChainID>();
  readonly #hasSources: boolean;
  readonly #listed: ReadonlyMap<string, ManifestLayer>;

  constructor(label: string, files: FilesystemReader, manifest: Manifest | undefined) {
    this.#label = label;
    this.#files = files;
    this.#listed = new Map(manifest?.layers.map((layer) => [layer.chainId, layer]));
    this.#capacity = files.capacity();
    this.#hasSources = files.kindOf(`${IMAGE_ROOT}/distribution/v2metadata-by-diffid/sha256`) === 'folder';
  }

  get findings(): Finding[] {
    if (this.#untold === 0) return this.#findings;
    return [
      ...this.#findings,
      {
        code: 'DISK_LAYOUT',
        label: this.#label,
        message: `disk ${this.#label}: ${plural(this.#untold, 'more fault')}`,
      },
    ];
  }

  #report(code: Finding['code'], message: string, image?: string): void {
    if (this.#findings.length >= MAX_FINDINGS) this.#untold += 1;
    else
      this.#findings.push({
        code,
        label: this.#label,
        message: `disk ${this.#label}: ${oneLine(message)}`,
        ...(image === undefined ? {} : { image }),
      });
  }

  readImages(): void {
    const names = this.#files.list(`${IMAGE_ROOT}/imagedb/content/sha256`);
    if (names.length > MAX_IMAGES)
      this.#report(
        'DISK_LAYOUT',
        `expected at most ${MAX_IMAGES} images, found ${names.length}: the others are left out`,
      );
    for (const name of names.slice(0, MAX_IMAGES)) {
      const id = asImageID(`sha256:${name}`);
      if (id === undefined)
        this.#report('IMAGE_INVALID', `imagedb: expected names of 64 hex digits, found '${textOf(name).slice(0, 80)}'`);
      else this.#readImage(id);
    }
  }

  #hold(bytes: number): boolean {
    if (this.#heldBytes + bytes > MAX_HELD_BYTES) return false;
    this.#heldBytes += bytes;
    return true;
  }

  #readImage(id: ImageID): void {
    try {
      const config = this.#files.read(`${IMAGE_ROOT}/imagedb/content/sha256/${hexOf(id)}`, MAX_CONFIG_BYTES);
      if (config === undefined) return;
      if (!this.#hold(config.length))
        throw new Error(`expected at most ${MAX_HELD_BYTES} bytes of configurations on a disk, found more`);
      const image = parseImageConfig(config, id);
      const metadata = new Map<string, Buffer>();
      for (const file of METADATA_FILES) {
        const content = this.#files.read(
          `${IMAGE_ROOT}/imagedb/metadata/sha256/${hexOf(id)}/${file}`,
          SMALL_FILE_BYTES,
        );
        if (content !== undefined && content.length > 0) metadata.set(file, content);
      }
      this.images.set(id, { ...image, label: this.#label, config, metadata });
      image.chains.forEach((chain, index) => this.#readLayer(chain, image.diffIDs[index], image.chains[index - 1]));
    } catch (error) {
      this.#report('IMAGE_INVALID', `image ${id} is left out: ${messageOf(error)}`, id);
    }
  }

  #readText(path: string, limitBytes: number): string | undefined {
    return this.#files.read(path, limitBytes)?.toString('utf8');
  }

  #readLayer(chain: ChainID, diffID: DiffID | undefined, parent: ChainID | undefined): void {
    if (this.#seen.has(chain) || diffID === undefined) return;
    this.#seen.add(chain);
    const folder = `${IMAGE_ROOT}/layerdb/sha256/${hexOf(chain)}`;
    // Another disk or the store may have the layer, so only the plan can say whether it is missing.
    if (this.#files.kindOf(folder) !== 'folder') return;
    try {
      const { cacheId, size } = this.#readRecord(folder, chain, diffID, parent);
      if (!isLayerSize(size)) throw new Error(`${folder}/size: expected a number of bytes, found something else`);
      if (!isCacheId(cacheId))
        throw new Error(`${folder}/cache-id: expected letters, digits and dashes, found something else`);
      const diff = `overlay2/${cacheId}/diff`;
      if (this.#files.kindOf(diff) !== 'folder')
        throw new Error(`${diff}: expected a folder on the disk's own filesystem, found none`);
      this.layers.set(chain, {
        chain,
        diffID,
        parent,
        size,
        label: this.#label,
        diffPath: this.#files.pathOf(diff),
        tarSplit: this.#readTarSplit(folder, diff),
        registrySources: this.#readSources(diffID),
      });
    } catch (error) {
      this.#report('LAYER_INVALID', messageOf(error));
    }
  }

  /**
   * What a layer's record says. If the manifest has that, the small files are not opened, because each would be one
   * more read of the device.
   * @throws Error if the record does not belong to the image
   */
  #readRecord(
    folder: string,
    chain: ChainID,
    diffID: DiffID,
    parent: ChainID | undefined,
  ): { readonly cacheId: string; readonly size: string } {
    const listed = this.#listed.get(chain);
    const record =
      listed === undefined
        ? readRecord(this.#files, folder)
        : {
            cacheId: listed.cacheId,
            size: String(listed.sizeBytes),
            diffID: listed.diffId,
            parent: listed.parent ?? '',
          };
    if (record.diffID !== diffID) throw new Error(`${folder}/diff: expected ${diffID}, found something else`);
    if (asChainID(record.parent) !== parent || (parent === undefined && record.parent !== ''))
      throw new Error(`${folder}/parent: expected ${parent ?? 'none'}, found something else`);
    return record;
  }

  #readTarSplit(folder: string, diff: string): DiskLayer['tarSplit'] {
    const path = `${folder}/${TAR_SPLIT}`;
    const sizeBytes = this.#files.sizeOf(path);
    if (sizeBytes === undefined) return undefined;
    if (sizeBytes > MAX_TAR_SPLIT_BYTES)
      throw new Error(`${path}: expected at most ${MAX_TAR_SPLIT_BYTES} bytes, found ${sizeBytes}`);
    // Tar-splits are copied, so those that are mostly holes would fill the data root from a small disk.
    const names = Math.ceil((sizeBytes - FREE_TAR_SPLIT_BYTES) / TAR_SPLIT_BYTES_OF_NAME);
    if (names > 0 && !hasNames(this.#files, diff, names))
      throw new Error(`${path}: of ${sizeBytes} bytes, it takes a layer of at least ${names} files, found fewer`);
    if (this.#tarSplitBytes + sizeBytes > this.#capacity)
      throw new Error(
        `${path}: expected tar-splits of at most ${this.#capacity} bytes together, as large as the disk, found more`,
      );
    this.#tarSplitBytes += sizeBytes;
    return { path: this.#files.pathOf(path), sizeBytes, digest: this.#files.digestOf?.(path) };
  }

  #readSources(diffID: DiffID): string | undefined {
    if (!this.#hasSources) return undefined;
    try {
      const text = this.#readText(
        `${IMAGE_ROOT}/distribution/v2metadata-by-diffid/sha256/${hexOf(diffID)}`,
        MAX_SOURCES_BYTES,
      );
      return this.#hold(text?.length ?? 0) ? text : undefined;
    } catch {
      // Without this, a pull asks the registry for the layer again, which is no reason to leave the layer out.
      return undefined;
    }
  }

  readReferences(): void {
    let document: unknown;
    try {
      const text = this.#readText(`${IMAGE_ROOT}/repositories.json`, MAX_REPOSITORIES_BYTES);
      if (text === undefined) return;
      document = parseUntrusted(text);
    } catch (error) {
      this.#report('REFERENCE_INVALID', `no name is taken from it: repositories.json: ${messageOf(error)}`);
      return;
    }
    const repositories = isRecord(document) ? document['Repositories'] : undefined;
    if (!isRecord(repositories)) {
      this.#report(
        'REFERENCE_INVALID',
        'no name is taken from it: repositories.json: `Repositories`: expected an object, found something else',
      );
      return;
    }
    const references: [repository: string, text: string, id: unknown][] = [];
    for (const [repository, entries] of Object.entries(repositories)) {
      if (!isRecord(entries))
        this.#report(
          'REFERENCE_INVALID',
          `'${repository.slice(0, 300)}' is left out: expected an object with its references, found something else`,
        );
      else for (const [text, id] of Object.entries(entries)) references.push([repository, text, id]);
    }
    if (references.length > MAX_REFERENCES)
      this.#report(
        'REFERENCE_INVALID',
        `expected at most ${MAX_REFERENCES} names, found ${references.length}: the others are left out`,
      );
    for (const [repository, text, id] of references.slice(0, MAX_REFERENCES)) this.#readReference(repository, text, id);
  }

  #readReference(repository: string, text: string, id: unknown): void {
    const reference = parseReference(repository, text);
    const image = asImageID(id);
    if (reference === undefined)
      this.#report('REFERENCE_INVALID', `'${text.slice(0, 300)}' is left out: it is no valid image reference`);
    else if (image === undefined || !this.images.has(image))
      this.#report('REFERENCE_INVALID', `${text} is left out: it names an image that is not on the disk`, text);
    else this.references.set(text, image);
  }
}

/** The small files of a layer's record as they are, or empty if they are missing. @throws Error as `read` does */
export function readRecord(
  files: Pick<FilesystemReader, 'read'>,
  folder: string,
): { readonly cacheId: string; readonly size: string; readonly diffID: string; readonly parent: string } {
  const read = (name: string): string => files.read(`${folder}/${name}`, SMALL_FILE_BYTES)?.toString('utf8') ?? '';
  return { cacheId: read('cache-id').trim(), size: read('size'), diffID: read('diff'), parent: read('parent') };
}

/** Whether a text is a layer's size: bytes in decimal, no more than a number can have exactly. */
export function isLayerSize(text: string): boolean {
  return /^\d{1,15}$/.test(text);
}

/** A name as a text. On the disk it may be any bytes. */
function textOf(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

/** Whether there are at least so many names in a folder and below it. It stops when it has found them. */
function hasNames(files: FilesystemReader, folder: string, count: number): boolean {
  const folders = [folder];
  let left = count;
  for (const one of folders) {
    left -= files.list(one).length;
    if (left <= 0) return true;
    for (const name of files.subfolders(one)) folders.push(`${one}/${name}`);
  }
  return false;
}
