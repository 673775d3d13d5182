import * as z from 'zod/mini';
import { hexOf, sha256 } from '../docker/ids.ts';
import { MAX_CONFIG_BYTES } from '../docker/image-config.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { parseJson } from '../system/parse.ts';
import type { Archive } from './archive.ts';
import { parseConfig, reference } from './docker-archive.ts';
import { archiveError } from './fail.ts';
import { describePlatform, type InputImage, type Platform, type RegistryManifest } from './input-image.ts';

export const OCI_INDEX = 'index.json';
const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;
const MAX_DEPTH = 4;

const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/, 'a sha256 digest'));
const descriptorSchema = z.looseObject({
  mediaType: z.optional(z.string()),
  digest,
  size: z.int(),
  annotations: z.nullish(z.record(z.string(), z.string())),
  platform: z.nullish(z.looseObject({ os: z.string(), architecture: z.string(), variant: z.optional(z.string()) })),
});
const indexSchema = z.looseObject({ mediaType: z.optional(z.string()), manifests: z.array(descriptorSchema) });
const manifestSchema = z.looseObject({ mediaType: z.optional(z.string()), config: descriptorSchema, layers: z.pipe(z.nullish(z.array(descriptorSchema)), z.transform((list) => list ?? [])) });

type Descriptor = z.infer<typeof descriptorSchema>;

const INDEX = /^application\/vnd\.(?:oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json$/;
const MANIFEST = /^application\/vnd\.(?:oci\.image\.manifest\.v1|docker\.distribution\.manifest\.v2)\+json$/;
const CONFIG = /^application\/vnd\.(?:oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/;
const LAYER = /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?:gzip|zstd))?|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?:gzip|zstd))?)$/;

interface Found {
  readonly manifest: z.infer<typeof manifestSchema>;
  /** The indexes that led to the manifest, the outermost first, and the manifest itself. */
  readonly blobs: readonly RegistryManifest[];
  readonly annotations: Readonly<Record<string, string>>;
}

/**
 * The images of an OCI layout (OCI image spec, image-layout.md), of each index the one for `platform`.
 * @throws PreloaderError with the entry, what was expected and what was found
 */
export async function readOciLayout(archive: Archive, platform: Platform): Promise<InputImage[]> {
  const images: InputImage[] = [];
  for (const { manifest, blobs, annotations } of await manifests(archive, platform)) {
    checkMediaType(archive, manifest.config, CONFIG, 'an image configuration');
    const config = await blob(archive, manifest.config, MAX_CONFIG_BYTES);
    const parsed = parseConfig(archive, blobEntry(manifest.config.digest), config, manifest.config.digest);
    if (manifest.layers.length !== parsed.diffIDs.length) {
      throw archiveError(archive.name, `image ${parsed.id}: ${parsed.diffIDs.length} layers expected, as in its configuration, found ${manifest.layers.length} in its manifest`);
    }
    for (const layer of manifest.layers) checkMediaType(archive, layer, LAYER, 'a layer');
    const name = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'] ?? '';
    images.push({
      ...parsed,
      archive,
      config,
      sources: manifest.layers.map((layer) => ({ archive, entry: blobEntry(layer.digest), blobDigest: layer.digest })),
      // A tag alone, as umoci and skopeo write it, is no name.
      references: /[:/]/.test(name) ? [reference(archive, name)] : [],
      manifests: blobs,
    });
  }
  return images;
}

/**
 * Manifests of a registry in an archive of docker 25 or later, by image: those whose layers are a registry's compressed
 * blobs. The manifests that such a docker makes up for images without one name uncompressed layers.
 */
export async function registryManifests(archive: Archive, platform: Platform): Promise<(imageId: string) => readonly RegistryManifest[]> {
  const found = new Map<string, readonly RegistryManifest[]>();
  if (archive.has(OCI_INDEX)) {
    const all = await manifests(archive, platform).catch((error: unknown): Found[] => {
      // The images themselves are read by manifest.json: what this lacks, blobs of other platforms say, costs only the registry's names.
      if (error instanceof PreloaderError) return [];
      throw error;
    });
    for (const { manifest, blobs } of all) {
      if (manifest.layers.some(({ mediaType }) => /(?:gzip|zstd)$/.test(mediaType ?? ''))) found.set(manifest.config.digest, blobs);
    }
  }
  return (imageId) => found.get(imageId) ?? [];
}

async function manifests(archive: Archive, platform: Platform): Promise<Found[]> {
  const index = parse(archive, OCI_INDEX, await archive.read(OCI_INDEX, MAX_MANIFEST_BYTES), indexSchema);
  const found: Found[] = [];
  const skipped: string[] = [];
  for (const descriptor of index.manifests) {
    if (isAttestation(descriptor)) continue;
    // docker 25 to 28 list the platforms side by side, each under the same name.
    if (descriptor.platform !== undefined && descriptor.platform !== null && !matches(descriptor, platform)) {
      skipped.push(platformOf(descriptor));
      continue;
    }
    found.push(await resolve(archive, descriptor, platform, descriptor.annotations ?? {}, 0));
  }
  if (found.length === 0 && skipped.length > 0) throw noPlatform(archive, OCI_INDEX, platform, skipped);
  return found;
}

async function resolve(archive: Archive, descriptor: Descriptor, platform: Platform, annotations: Readonly<Record<string, string>>, depth: number): Promise<Found> {
  const entry = blobEntry(descriptor.digest);
  const bytes = await blob(archive, descriptor, MAX_MANIFEST_BYTES);
  const type = descriptor.mediaType ?? '';
  if (MANIFEST.test(type)) {
    return { manifest: parse(archive, entry, bytes, manifestSchema), blobs: [{ digest: descriptor.digest, bytes }], annotations };
  }
  if (!INDEX.test(type)) throw archiveError(archive.name, `entry '${entry}': an image manifest or index expected, found the media type '${type}'`);
  if (depth === MAX_DEPTH) throw archiveError(archive.name, `entry '${entry}': at most ${MAX_DEPTH} indexes in each other expected, found more`);
  const inner = parse(archive, entry, bytes, indexSchema).manifests.filter((one) => !isAttestation(one));
  const chosen = inner.find((one) => matches(one, platform)) ?? (inner.length === 1 && !inner[0]?.platform ? inner[0] : undefined);
  if (chosen === undefined) throw noPlatform(archive, entry, platform, inner.map(platformOf));
  const found = await resolve(archive, chosen, platform, annotations, depth + 1);
  return { ...found, blobs: [{ digest: descriptor.digest, bytes }, ...found.blobs] };
}

function isAttestation(descriptor: Descriptor): boolean {
  return descriptor.platform?.os === 'unknown' || descriptor.annotations?.['vnd.docker.reference.type'] === 'attestation-manifest';
}

function matches(descriptor: Descriptor, platform: Platform): boolean {
  const found = descriptor.platform;
  if (found === undefined || found === null) return false;
  return found.os === platform.os && found.architecture === platform.architecture && (platform.variant === undefined || found.variant === platform.variant);
}

function platformOf({ platform }: Descriptor): string {
  return platform === undefined || platform === null ? 'one without platform' : describePlatform({ ...platform, variant: platform.variant });
}

function noPlatform(archive: Archive, entry: string, platform: Platform, found: readonly string[]): Error {
  return archiveError(archive.name, `entry '${entry}': an image for ${describePlatform(platform)} expected, found ${found.join(', ') || 'none'}: choose with --platform`);
}

async function blob(archive: Archive, descriptor: Descriptor, limitBytes: number): Promise<Buffer> {
  const entry = blobEntry(descriptor.digest);
  const bytes = await archive.read(entry, limitBytes);
  const found = sha256(bytes);
  if (found !== descriptor.digest) throw archiveError(archive.name, `entry '${entry}': content with digest ${descriptor.digest} expected, found ${found}`);
  if (bytes.length !== descriptor.size) throw archiveError(archive.name, `entry '${entry}': ${descriptor.size} bytes expected, found ${bytes.length}`);
  return bytes;
}

function blobEntry(blobDigest: string): string {
  return `blobs/sha256/${hexOf(blobDigest)}`;
}

function checkMediaType(archive: Archive, descriptor: Descriptor, expected: RegExp, what: string): void {
  if (!expected.test(descriptor.mediaType ?? '')) throw archiveError(archive.name, `entry '${blobEntry(descriptor.digest)}': ${what} expected, found the media type '${descriptor.mediaType ?? ''}'`);
}

function parse<Schema extends z.ZodMiniType>(archive: Archive, entry: string, bytes: Buffer, schema: Schema): z.infer<Schema> {
  try {
    return parseJson(bytes.toString('utf8'), schema);
  } catch (error) {
    throw archiveError(archive.name, `entry '${entry}': ${messageOf(error)}`, error);
  }
}
