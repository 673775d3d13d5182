import type { DiffID, ImageID } from '../../docker/ids.ts';
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

/** What an archive tells to be a layer. */
export interface LayerForm {
  readonly diffID: DiffID;
  readonly source: LayerSource;
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
  /** The repository from which it was asked for by its digest, if that was so. */
  readonly askedByDigest?: string | undefined;
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

/** A registry's manifest of an image, and the name that leads to it. */
export interface NamedManifests {
  /** A familiar reference; undefined if it has none that Docker accepts. */
  readonly name: string | undefined;
  readonly manifests: readonly RegistryManifest[];
}

/**
 * The registry's manifests of an image. One image may have several: names lead to indexes of their own with one
 * manifest in them, or to manifests with the same layers in another compression.
 * @param layers entries of the image's layers: where manifests have just these, they are the ones
 */
export type ManifestsOf = (imageId: string, layers: readonly string[]) => readonly NamedManifests[];
