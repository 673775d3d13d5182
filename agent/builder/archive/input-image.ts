import type { ImageID } from '../../docker/ids.ts';
import type { ImageConfig } from '../../docker/image-config.ts';
import type { Archive } from './archive.ts';

/** Where a layer's tar, compressed or not, is found. */
export interface LayerSource {
  readonly archive: Archive;
  readonly entry: string;
  /** sha256 of the bytes as they are there, where the archive tells it. */
  readonly blobDigest: string | undefined;
}

/** An image as an archive has it. */
export interface InputImage extends ImageConfig {
  readonly archive: Archive;
  readonly config: Buffer;
  /** Base first, one for each DiffID. */
  readonly sources: readonly LayerSource[];
  /** Familiar references with a tag. */
  readonly references: readonly string[];
  /** Tags without a name, as umoci and skopeo write them into a layout. */
  readonly bareTags: readonly string[];
  /** What the archive calls it, letter by letter; may be nothing that Docker takes for a name or tag. */
  readonly writtenNames: readonly string[];
  /** The manifest, and the indexes that lead to it, where a registry has the image by them. */
  readonly manifests: readonly RegistryManifest[];
  /** The image that it was built from by one step, where the archive has that, too. */
  readonly parent: ImageID | undefined;
}

/** A manifest or index, its bytes as the registry has them. */
export interface RegistryManifest {
  readonly digest: string;
  readonly bytes: Buffer;
}

/** What is taken of an archive, and what is not, for it is made for another platform: names with platforms. */
export interface ArchiveContent {
  readonly images: readonly InputImage[];
  readonly leftOut: readonly string[];
}
