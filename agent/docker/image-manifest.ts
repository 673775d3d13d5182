import { isRecord } from '../text/is-record.ts';
import { isDigest, sha256 } from './ids.ts';
import { parseUntrusted } from '../text/parse-untrusted.ts';

/** What names a blob: an image's manifest, its configuration, a layer. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** Which configuration and which layers an image has, as a registry and containerd name them. */
interface ImageManifest {
  readonly config: Descriptor;
  /** Base first. */
  readonly layers: readonly Descriptor[];
}

const MANIFEST = /^application\/vnd\.(?:oci\.image\.manifest\.v1|docker\.distribution\.manifest\.v2)\+json$/;
const INDEX = /^application\/vnd\.(?:oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json$/;
/** Longer ones are none. */
const MAX_MEDIA_TYPE_LENGTH = 255;
const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json';
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

/** Whether it is the manifest of one image, and not an index of several. */
export function isImageManifest(mediaType: string): boolean {
  return MANIFEST.test(mediaType);
}

/** Whether it is an index, which names a manifest for each platform. */
export function isImageIndex(mediaType: string): boolean {
  return INDEX.test(mediaType);
}

/** The media type of a layer in a manifest that we make. */
export function layerMediaType(compression: 'none' | 'gzip' | 'zstd'): string {
  return compression === 'none' ? DOCKER_LAYER : `${DOCKER_LAYER}.${compression}`;
}

/**
 * Makes the manifest of an image that comes without one. It has the bytes that containerd makes for an archive without
 * manifests (core/images/archive/importer.go, ImportIndex), so that the image has the same ID.
 */
export function makeImageManifest(
  config: Buffer,
  layers: readonly Descriptor[],
): { readonly descriptor: Descriptor; readonly bytes: Buffer } {
  const written = ({ mediaType, digest, sizeBytes }: Descriptor): object => ({ mediaType, digest, size: sizeBytes });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: DOCKER_MANIFEST,
      config: written({ mediaType: DOCKER_CONFIG, digest: sha256(config), sizeBytes: config.length }),
      layers: layers.map(written),
    }),
  );
  return { descriptor: { mediaType: DOCKER_MANIFEST, digest: sha256(bytes), sizeBytes: bytes.length }, bytes };
}

/** Reads the manifest of an image. @throws Error with what was expected and what was found */
export function parseImageManifest(bytes: Buffer): ImageManifest {
  const document = parseUntrusted(bytes.toString('utf8'));
  if (!isRecord(document)) throw new Error('expected an image manifest, found something else');
  const layers = document['layers'] ?? [];
  if (!Array.isArray(layers)) throw new Error('`layers`: expected an array, found something else');
  return {
    config: parseDescriptor(document['config'], 'config'),
    layers: layers.map((layer: unknown, index) => parseDescriptor(layer, `layers.${index}`)),
  };
}

/** The digests of the manifests that an index names. @throws Error with what was expected and what was found */
export function parseImageIndex(bytes: Buffer): ReadonlySet<string> {
  const document = parseUntrusted(bytes.toString('utf8'));
  const manifests = isRecord(document) ? document['manifests'] : undefined;
  if (!Array.isArray(manifests)) throw new Error('`manifests`: expected an array, found something else');
  return new Set(
    manifests.flatMap((entry: unknown) => {
      const digest = isRecord(entry) ? entry['digest'] : undefined;
      return isDigest(digest) ? [digest] : [];
    }),
  );
}

function parseDescriptor(value: unknown, key: string): Descriptor {
  const { mediaType, digest, size } = isRecord(value) ? value : {};
  if (typeof mediaType !== 'string' || mediaType.length > MAX_MEDIA_TYPE_LENGTH)
    throw new Error(`\`${key}.mediaType\`: expected a media type, found something else`);
  if (!isDigest(digest)) throw new Error(`\`${key}.digest\`: expected a sha256 digest, found something else`);
  if (!Number.isSafeInteger(size) || Number(size) < 0)
    throw new Error(`\`${key}.size\`: expected a number of bytes, found something else`);
  return { mediaType, digest, sizeBytes: Number(size) };
}
