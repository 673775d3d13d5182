import { isDigest, sha256 } from '../docker/ids.ts';
import { isRecord } from '../text/is-record.ts';
import type { DiskImage, DiskLayer } from '../disk/read-disk.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
/** An uncompressed tar. */
const LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** An image's manifest, which is what containerd's record of the image names. */
export interface ImageManifest {
  readonly bytes: Buffer;
  readonly digest: string;
  readonly mediaType: string;
  /** Base first. */
  readonly layers: readonly string[];
}

/**
 * The manifest of an image that a disk has without one: of its layers as tars, by their DiffIDs. The same image of the
 * same disk always has the same.
 */
export function makeManifest(image: DiskImage, layers: readonly (DiskLayer | undefined)[]): ImageManifest {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: CONFIG, digest: image.id, size: image.config.length },
      layers: image.diffIDs.map((digest, index) => ({
        mediaType: LAYER,
        digest,
        // Of the files: that of the tar is known only where somebody reads all of its tar-split.
        size: Number(layers[index]?.size ?? 0),
      })),
    }),
  );
  return { bytes, digest: sha256(bytes), mediaType: MANIFEST, layers: image.diffIDs };
}

/** Parses the manifest that a disk has for an image. @throws Error where it is not one of that image */
export function parseManifest(bytes: Buffer, image: DiskImage): ImageManifest {
  const document: unknown = JSON.parse(bytes.toString('utf8'));
  const config = isRecord(document) ? document['config'] : undefined;
  const list = isRecord(document) ? document['layers'] : undefined;
  const mediaType = isRecord(document) ? (document['mediaType'] ?? MANIFEST) : undefined;
  if (!isRecord(config) || config['digest'] !== image.id)
    throw new Error(`a manifest with configuration ${image.id} expected, found another`);
  if (!Array.isArray(list) || list.length !== image.diffIDs.length)
    throw new Error(`a manifest of ${image.diffIDs.length} layers expected, found another`);
  if (typeof mediaType !== 'string') throw new Error('`mediaType`: string expected, found something else');
  const layers = list.map((entry: unknown) => {
    const digest = isRecord(entry) ? entry['digest'] : undefined;
    if (!isDigest(digest)) throw new Error('`layers`: sha256 digests expected, found something else');
    return digest;
  });
  return { bytes, digest: sha256(bytes), mediaType, layers };
}
