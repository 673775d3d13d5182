import { join } from 'node:path';
import { hexOf, type ChainID, type DiffID, type ImageID } from './ids.ts';

/** A layer's record in `layerdb/sha256/<chain>/` (moby, layer/filestore.go). */
export interface LayerRecord {
  readonly chain: ChainID;
  readonly diffID: DiffID;
  readonly parent: ChainID | undefined;
  /** The bytes of this layer alone, in decimal, as the file has it: without a newline. */
  readonly size: string;
}

/** The small files of a record by name, without the cache-id, which differs between stores. */
export function recordFiles(layer: LayerRecord): ReadonlyMap<string, string> {
  const files = new Map<string, string>([
    ['diff', layer.diffID],
    ['size', layer.size],
  ]);
  if (layer.parent !== undefined) files.set('parent', layer.parent);
  return files;
}

/** From this, dockerd puts a layer's tar together again, byte by byte. It is needed only for save and push. */
export const TAR_SPLIT = 'tar-split.json.gz';

/** Paths of dockerd's metadata below a data root, or below a disk's root. */
export interface MetadataPaths {
  readonly root: string;
  readonly repositories: string;
  readonly images: string;
  readonly layers: string;
  readonly layersTemp: string;
  readonly containers: string;
  image(id: ImageID): string;
  imageMetadata(id: ImageID): string;
  layer(chain: ChainID): string;
  /** The folder for a container's layer, or for a pin of ours. */
  mount(name: string): string;
  diffIDByDigest(digest: string): string;
  metadataByDiffID(diffID: DiffID): string;
}

/** dockerd's `image/overlay2/` (moby, daemon/daemon.go: imageRoot). */
export function metadataPaths(dataRoot: string): MetadataPaths {
  const root = join(dataRoot, 'image/overlay2');
  return {
    root,
    repositories: `${root}/repositories.json`,
    images: `${root}/imagedb/content/sha256`,
    layers: `${root}/layerdb/sha256`,
    layersTemp: `${root}/layerdb/tmp`,
    containers: `${root}/layerdb/mounts`,
    image: (id) => `${root}/imagedb/content/sha256/${hexOf(id)}`,
    imageMetadata: (id) => `${root}/imagedb/metadata/sha256/${hexOf(id)}`,
    layer: (chain) => `${root}/layerdb/sha256/${hexOf(chain)}`,
    mount: (name) => `${root}/layerdb/mounts/${name}`,
    diffIDByDigest: (digest) => `${root}/distribution/diffid-by-digest/sha256/${hexOf(digest)}`,
    metadataByDiffID: (diffID) => `${root}/distribution/v2metadata-by-diffid/sha256/${hexOf(diffID)}`,
  };
}
