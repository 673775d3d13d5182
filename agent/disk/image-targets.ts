import { hexOf, sha256, type ChainID, type DiffID, type ImageID } from '../docker/ids.ts';
import {
  isImageIndex,
  isImageManifest,
  layerMediaType,
  makeImageManifest,
  parseImageIndex,
  parseImageManifest,
  type Descriptor,
} from '../docker/image-manifest.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf } from '../system/errors.ts';
import { oneLine } from '../text/one-line.ts';
import { MAX_HELD_BYTES, MAX_IMAGE_MANIFEST_BYTES, MAX_INDEX_DEPTH, MAX_REFERENCES } from './limits.ts';
import type { ManifestTarget } from './manifest.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import type { DiskContent, DiskImage } from './read-disk.ts';

/** A layer as containerd has it. */
interface TargetLayer {
  readonly chain: ChainID;
  readonly diffID: DiffID;
  readonly descriptor: Descriptor;
  /** The file with its bytes, as `FilesystemReader.pathOf` gives it; undefined where the disk has none. */
  readonly blobPath: string | undefined;
}

/** What an image is in containerd's store. */
export interface ImageTarget {
  readonly image: ImageID;
  /** The tags that lead to it; none for an image without a name. */
  readonly references: readonly string[];
  /** What an image record of containerd points to: `docker images` shows its digest as the ID. */
  readonly target: Descriptor;
  /** The target first, then the indexes below it, then the image's manifest; each with its bytes. */
  readonly manifests: readonly { readonly descriptor: Descriptor; readonly bytes: Buffer }[];
  /** Its bytes are those of `DiskImage.config`. */
  readonly config: Descriptor;
  /** Base first. */
  readonly layers: readonly TargetLayer[];
  /**
   * Whether the disk has no valid manifest of the image. Then it is made here. The layers' sizes in it are those of
   * their files, so it serves only where no layer has a blob.
   */
  readonly isMade: boolean;
}

type TargetFiles = Pick<FilesystemReader, 'read' | 'sizeOf' | 'pathOf' | 'capacity'>;

/** This many faults of one disk are told. */
const MAX_FINDINGS = 50;

/**
 * Reads what containerd's store needs of a disk besides images and layers, trusting nothing of it. What is wrong costs
 * a blob or a manifest, and never the image in overlay2. Nothing of this is read on the way to READY.
 * @param content of the same disk
 */
export function readImageTargets(
  content: DiskContent,
  files: TargetFiles,
): { readonly targets: readonly ImageTarget[]; readonly findings: readonly Finding[] } {
  return new TargetReader(content, files).read();
}

class TargetReader {
  readonly #content: DiskContent;
  readonly #files: TargetFiles;
  readonly #findings: Finding[] = [];
  readonly #listed: ReadonlyMap<string, number>;
  /** Many targets may have one manifest or blob: each is looked at once, whatever is wrong with it. */
  readonly #blobs = new Known<string | undefined>();
  readonly #bytes = new Known<Buffer>();
  readonly #parsed = new Known<ReturnType<typeof parseImageManifest>>();
  readonly #indexes = new Known<ReadonlySet<string>>();
  #count = 0;
  #readBytes = 0;

  constructor(content: DiskContent, files: TargetFiles) {
    this.#content = content;
    this.#files = files;
    this.#listed = new Map(content.manifest?.blobs?.map(({ digest, sizeBytes }) => [digest, sizeBytes]));
  }

  read(): { readonly targets: ImageTarget[]; readonly findings: readonly Finding[] } {
    const listed = new Map(this.#content.manifest?.images.map(({ id, targets }) => [id, targets ?? []]));
    const tags = Map.groupBy(
      [...this.#content.references].filter(([reference]) => !reference.includes('@')),
      ([, id]) => id,
    );
    const targets = [...this.#content.images.values()].flatMap((image) => {
      const left = new Set(tags.get(image.id)?.map(([reference]) => reference));
      const all = listed.get(image.id) ?? [];
      const few = all.slice(0, MAX_REFERENCES - this.#count);
      this.#count += few.length;
      if (few.length < all.length)
        this.#report(
          'IMAGE_INVALID',
          `image ${image.id}: expected at most ${MAX_REFERENCES} manifests on a disk, found more; they are left out`,
          image.id,
        );
      const found = few.flatMap((target) => this.#target(image, target, left) ?? []);
      // Names that no valid target has lead to the first one, so that no name is lost.
      const [first = this.#make(image), ...rest] = found;
      return [{ ...first, references: [...first.references, ...left] }, ...rest];
    });
    return { targets, findings: this.#findings };
  }

  /** @param left the image's tags that no target has yet */
  #target(image: DiskImage, { references, path }: ManifestTarget, left: Set<string>): ImageTarget | undefined {
    try {
      const manifests = this.#manifests(path);
      const last = manifests.at(-1);
      const target = manifests[0]?.descriptor;
      if (last === undefined || target === undefined) throw new Error('expected a manifest, found none');
      const { config, layers } = this.#parsed.get(last.descriptor.digest, () => parseImageManifest(last.bytes));
      if (config.digest !== image.id || config.sizeBytes !== image.config.length)
        throw new Error(`${last.descriptor.digest}: expected the manifest of the image, found one of ${config.digest}`);
      if (layers.length !== image.chains.length)
        throw new Error(
          `${last.descriptor.digest}: expected ${image.chains.length} layers, as in the configuration, found ${layers.length}`,
        );
      return {
        image: image.id,
        references: references.filter((reference) => left.delete(reference)),
        target,
        manifests,
        config,
        layers: layers.flatMap((descriptor, index) => this.#layer(image, index, descriptor)),
        isMade: false,
      };
    } catch (error) {
      this.#report(
        'IMAGE_INVALID',
        `image ${image.id}: its manifest for containerd is left out: ${messageOf(error)}`,
        image.id,
      );
      return undefined;
    }
  }

  #manifests(path: readonly Descriptor[]): ImageTarget['manifests'] {
    if (path.length > MAX_INDEX_DEPTH + 1)
      throw new Error(`expected at most ${MAX_INDEX_DEPTH} indexes, found ${path.length - 1}`);
    return path.map((descriptor, index) => {
      const next = path[index + 1];
      const bytes = this.#manifest(descriptor);
      const isRight = next === undefined ? isImageManifest(descriptor.mediaType) : isImageIndex(descriptor.mediaType);
      if (!isRight)
        throw new Error(
          `${descriptor.digest}: expected ${next === undefined ? 'a manifest' : 'an index'}, found the media type '${descriptor.mediaType.slice(0, 80)}'`,
        );
      if (next !== undefined && !this.#indexes.get(descriptor.digest, () => parseImageIndex(bytes)).has(next.digest))
        throw new Error(`${descriptor.digest}: expected an index with ${next.digest}, found it without`);
      return { descriptor, bytes };
    });
  }

  #manifest({ digest, sizeBytes }: Descriptor): Buffer {
    return this.#bytes.get(`${digest} ${sizeBytes}`, () => {
      const path = `manifests/sha256/${hexOf(digest)}`;
      if (sizeBytes > MAX_IMAGE_MANIFEST_BYTES)
        throw new Error(`${path}: expected at most ${MAX_IMAGE_MANIFEST_BYTES} bytes, found ${sizeBytes}`);
      // Files of holes cost a disk nothing.
      if (this.#readBytes + sizeBytes > MAX_HELD_BYTES)
        throw new Error(`expected at most ${MAX_HELD_BYTES} bytes of manifests on a disk, found more`);
      this.#readBytes += sizeBytes;
      const bytes = this.#files.read(path, sizeBytes);
      if (bytes === undefined) throw new Error(`${path}: expected a file, found none`);
      if (bytes.length !== sizeBytes) throw new Error(`${path}: expected ${sizeBytes} bytes, found ${bytes.length}`);
      const found = sha256(bytes);
      if (found !== digest) throw new Error(`${path}: expected content with digest ${digest}, found ${found}`);
      return bytes;
    });
  }

  #layer(image: DiskImage, index: number, descriptor: Descriptor): TargetLayer[] {
    const [chain, diffID] = [image.chains[index], image.diffIDs[index]];
    return chain === undefined || diffID === undefined
      ? []
      : [{ chain, diffID, descriptor, blobPath: this.#blob(descriptor) }];
  }

  /** The file of a layer's blob, undefined where there is none of that size. */
  #blob({ digest, sizeBytes }: Descriptor): string | undefined {
    return this.#blobs.get(`${digest} ${sizeBytes}`, () => {
      if (!this.#listed.has(digest)) return undefined;
      const file = blobFile(digest);
      try {
        const found = this.#files.sizeOf(file);
        if (sizeBytes === 0 || found !== sizeBytes || this.#listed.get(digest) !== sizeBytes)
          throw new Error(
            `${file}: expected ${sizeBytes === 0 ? 'some' : sizeBytes} bytes, found ${found ?? 'no such file'}`,
          );
        // A file of holes may have any size, and docker save would write all of it.
        const most = this.#files.capacity();
        if (sizeBytes > most)
          throw new Error(`${file}: expected at most ${most} bytes, as the disk has, found ${sizeBytes}`);
        return this.#files.pathOf(file);
      } catch (error) {
        this.#report('LAYER_INVALID', `a layer's blob is left out: ${messageOf(error)}`);
        return undefined;
      }
    });
  }

  #make(image: DiskImage): ImageTarget {
    const layers = image.chains.flatMap((chain, index) => {
      const diffID = image.diffIDs[index];
      const sizeBytes = Number(this.#content.layers.get(chain)?.size ?? 0);
      return diffID === undefined
        ? []
        : [{ chain, diffID, descriptor: { mediaType: layerMediaType('none'), digest: diffID, sizeBytes } }];
    });
    const made = makeImageManifest(
      image.config,
      layers.map(({ descriptor }) => descriptor),
    );
    return {
      image: image.id,
      references: [],
      target: made.descriptor,
      manifests: [made],
      config: parseImageManifest(made.bytes).config,
      layers: layers.map((layer) => ({ ...layer, blobPath: undefined })),
      isMade: true,
    };
  }

  #report(code: Finding['code'], message: string, image?: string): void {
    if (this.#findings.length >= MAX_FINDINGS) return;
    const { label } = this.#content;
    this.#findings.push({
      code,
      label,
      message: `disk ${label}: ${oneLine(message)}`,
      ...(image === undefined ? {} : { image }),
    });
  }
}

/** Values that are made when they are first asked for, or what is wrong with them. */
class Known<Value> {
  readonly #known = new Map<string, { readonly value: Value } | { readonly error: unknown }>();

  get(key: string, make: () => Value): Value {
    let known = this.#known.get(key);
    if (known === undefined) {
      try {
        known = { value: make() };
      } catch (error) {
        known = { error };
      }
      this.#known.set(key, known);
    }
    if ('error' in known) throw known.error;
    return known.value;
  }
}

/** The file of a layer's blob on a disk. */
export function blobFile(digest: string): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
