import type { ImageID } from '../../docker/ids.ts';
import type { ImageConfig } from '../../docker/image-config.ts';
import type { Compression } from '../../streams/decompress.ts';
import type { Archive } from './archive.ts';

/** Where a layer's tar, compressed or not, is found. */
export interface LayerSource {
  readonly archive: Archive;
  readonly entry: string;
  /** sha256 of the bytes as they are stored, if the archive gives it. */
  readonly blobDigest: string | undefined;
  /** How it is stored; undefined if the archive does not have it, because it is on a base disk. */
  readonly stored: StoredForm | undefined;
}

/** How a layer is stored in an archive. */
export interface StoredForm {
  readonly compression: Compression;
  /** If it is compressed as registries have layers: sha256 of the bytes as they are stored. */
  readonly digest: string | undefined;
  readonly sizeBytes: number;
}

/** An image as it is in an archive. */
export interface InputImage extends ImageConfig {
  readonly archive: Archive;
  readonly config: Buffer;
  /** One for each DiffID, base first. */
  readonly sources: readonly LayerSource[];
  /** Familiar references with a tag. */
  readonly references: readonly string[];
  /** Tags without a repository's name, as umoci and skopeo write them into a layout. */
  readonly bareTags: readonly string[];
  /** What the archive calls it, letter by letter. Docker may not accept it as a name or tag. */
  readonly writtenNames: readonly string[];
  /**
   * The indexes that lead to the manifest, the outermost first, and the manifest, if they are those by which a registry
   * has the image.
   */
  readonly manifests: readonly RegistryManifest[];
  /** The image that it was built from by one step, if the archive has that image as well. */
  readonly parent: ImageID | undefined;
}

/** A manifest or index, with its bytes exactly as the registry has them. */
export interface RegistryManifest {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

/** What is taken from an archive, and what is left out because it is for another platform: names with platforms. */
export interface ArchiveContent {
  readonly images: readonly InputImage[];
  readonly leftOut: readonly string[];
}
