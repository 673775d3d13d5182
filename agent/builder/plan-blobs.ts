import { sha256, type DiffID, type ImageID } from '../docker/ids.ts';
import {
  isImageIndex,
  isImageManifest,
  layerMediaType,
  parseImageIndex,
  parseImageManifest,
} from '../docker/image-manifest.ts';
import { MAX_IMAGE_MANIFEST_BYTES, MAX_INDEX_DEPTH } from '../disk/limits.ts';
import type { ApartBlob } from './archive/copy-blob.ts';
import type { LayerSource, RegistryManifest } from './archive/input-image.ts';
import { namesByImage, type CollectedLayer, type Collection } from './collect.ts';

/** The digest of no bytes. The agent takes no empty blob. */
const NO_BYTES = sha256('');

/**
 * `keep`: layers compressed as the archives have them, and uncompressed ones where these share the data of the layer's
 * files. `tar`: all uncompressed. `none`: none.
 */
export type BlobMode = 'keep' | 'tar' | 'none';

/** A layer in a manifest. */
interface PlannedLayer {
  readonly diffID: DiffID;
  readonly mediaType: string;
  readonly digest: string;
  /** Undefined for that of the layer's tar. */
  readonly sizeBytes: number | undefined;
  readonly source: LayerSource;
}

/** A manifest that an image is to have in containerd's store. */
export interface PlannedTarget {
  readonly image: ImageID;
  readonly config: Buffer;
  readonly references: readonly string[];
  /** The manifests of an archive, the outermost index first; undefined if one has to be made. */
  readonly path: readonly RegistryManifest[] | undefined;
  /** Base first. */
  readonly layers: readonly PlannedLayer[];
}

export interface BlobPlan {
  readonly targets: readonly PlannedTarget[];
  /** Layers whose tar is put on the disk as a whole: their files are then taken from there. */
  readonly shared: ReadonlySet<DiffID>;
  /** Sorted by digest. */
  readonly apart: readonly ApartBlob[];
  /** Layers on this disk of which the mode would keep a blob, if that did not double their room. */
  readonly leftOut: ReadonlySet<DiffID>;
}

/**
 * Decides which manifests the images have in containerd's store, and which blobs the disk has. An archive's manifest
 * stays as it is if its layers are those that are kept, so that the image keeps its digest. Otherwise one is made.
 * @param needed the layers that go on the disk
 * @param canShare whether the filesystem can have a tar and its files in one place
 */
export function planBlobs(
  collection: Collection,
  needed: ReadonlySet<CollectedLayer>,
  mode: BlobMode,
  canShare: boolean,
): BlobPlan {
  const layers = new Map(collection.layers.map((layer) => [layer.chain, layer]));
  const names = namesByImage(collection);
  const targets = collection.images.flatMap((image) => {
    const known = image.chains.flatMap((chain) => layers.get(chain) ?? []);
    const tags = (names.get(image.id) ?? []).filter((reference) => !reference.includes('@'));
    const ofArchives = [...image.targets]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([, { references, path }]) => {
        const found = layersOf(path, image.id, image.config, known, collection, mode);
        return found === undefined ? [] : [{ references, path, layers: found }];
      });
    const all =
      ofArchives.length > 0
        ? ofArchives
        : [{ references: new Set<string>(), path: undefined, layers: madeLayers(known, mode) }];
    const left = new Set(tags);
    return all.map(({ references, path, layers: found }, index) => {
      const own = tags.filter((tag) => references.has(tag) && left.delete(tag));
      // A tag of an archive without a manifest leads to the first one.
      const others =
        index === 0 ? tags.filter((tag) => left.has(tag) && !all.some((one) => one.references.has(tag))) : [];
      for (const tag of others) left.delete(tag);
      return { image: image.id, config: image.config, references: [...own, ...others].sort(), path, layers: found };
    });
  });

  const shared = new Set<DiffID>();
  const leftOut = new Set<DiffID>();
  const apart = new Map<string, ApartBlob>();
  const onDisk = new Set([...needed].map(({ diffID }) => diffID));
  for (const { diffID, digest, source } of mode === 'none' ? [] : targets.flatMap((target) => target.layers)) {
    if (!onDisk.has(diffID) || digest === NO_BYTES) continue;
    if (digest !== diffID) {
      const found = collection.compressed.get(digest);
      if (found !== undefined) apart.set(digest, { digest, source: found, decompress: false });
    } else if (canShare) shared.add(diffID);
    else if (mode === 'tar') apart.set(digest, { digest, source, decompress: true });
    else leftOut.add(diffID);
  }
  return {
    targets,
    shared,
    apart: [...apart.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1)),
    leftOut,
  };
}

/** The layers of a manifest that an archive has; undefined if the manifest cannot stay as it is. */
function layersOf(
  path: readonly RegistryManifest[],
  image: ImageID,
  imageConfig: Buffer,
  known: readonly CollectedLayer[],
  { compressed }: Collection,
  mode: BlobMode,
): readonly PlannedLayer[] | undefined {
  const last = path.at(-1);
  if (last === undefined) return undefined;
  try {
    if (!isPath(path)) return undefined;
    const { config, layers } = parseImageManifest(last.bytes);
    if (config.digest !== image || config.sizeBytes !== imageConfig.length || layers.length !== known.length)
      return undefined;
    const planned = layers.flatMap((layer, index) => {
      const one = known[index];
      if (one === undefined) return [];
      const isTar = layer.digest === one.diffID;
      const isThere = isTar || (mode !== 'tar' && (compressed.has(layer.digest) || one.source.stored === undefined));
      return isThere ? [{ ...layer, diffID: one.diffID, source: one.source }] : [];
    });
    return planned.length === layers.length ? planned : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the agent would take the manifests: each of a type that is known, and named by the one before it. */
function isPath(path: readonly RegistryManifest[]): boolean {
  if (path.length > MAX_INDEX_DEPTH + 1) return false;
  return path.every(({ mediaType, bytes }, index) => {
    if (bytes.length > MAX_IMAGE_MANIFEST_BYTES) return false;
    const next = path[index + 1];
    if (next === undefined) return isImageManifest(mediaType);
    return isImageIndex(mediaType) && parseImageIndex(bytes).has(next.digest);
  });
}

/** The layers of a manifest that is made: compressed where they are kept so, otherwise as tars. */
function madeLayers(layers: readonly CollectedLayer[], mode: BlobMode): PlannedLayer[] {
  return layers.map(({ diffID, source }) => {
    const { stored } = source;
    if (mode !== 'tar' && stored?.digest !== undefined && stored.compression !== 'none' && stored.compression !== 'xz')
      return {
        diffID,
        mediaType: layerMediaType(stored.compression),
        digest: stored.digest,
        sizeBytes: stored.sizeBytes,
        source,
      };
    return { diffID, mediaType: layerMediaType('none'), digest: diffID, sizeBytes: undefined, source };
  });
}
