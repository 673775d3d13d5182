import * as z from 'zod/mini';
import { hexOf, sha256 } from '../../docker/ids.ts';
import { MAX_CONFIG_BYTES } from '../../docker/image-config.ts';
import { messageOf } from '../../system/errors.ts';
import { parseJson } from '../../text/parse-json.ts';
import { plural } from '../../text/plural.ts';
import type { Archive } from './archive.ts';
import { archiveError } from './archive-error.ts';
import { platformOfConfig, type Platform } from './platform.ts';

export const OCI_INDEX = 'index.json';
/** For a manifest or an index that comes with an image. Disks take only smaller ones, which is checked later. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;
/** How deep indexes may be nested. */
export const MAX_DEPTH = 4;

const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/, 'a sha256 digest'));
const descriptorSchema = z.looseObject({
  mediaType: z.optional(z.string()),
  digest,
  size: z.int(),
  annotations: z.nullish(z.record(z.string(), z.string())),
  platform: z.nullish(z.looseObject({ os: z.string(), architecture: z.string(), variant: z.optional(z.string()) })),
});
const indexSchema = z.looseObject({ mediaType: z.optional(z.string()), manifests: z.array(descriptorSchema) });
const layersSchema = z.pipe(
  z.nullish(z.array(descriptorSchema)),
  z.transform((list) => list ?? []),
);
const manifestSchema = z.looseObject({
  mediaType: z.optional(z.string()),
  config: descriptorSchema,
  layers: layersSchema,
});

export type Descriptor = z.infer<typeof descriptorSchema>;
export type Manifest = z.infer<typeof manifestSchema>;

const INDEX = /^application\/vnd\.(?:oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json$/;
const MANIFEST = /^application\/vnd\.(?:oci\.image\.manifest\.v1|docker\.distribution\.manifest\.v2)\+json$/;

/**
 * The index of a layout (OCI image spec, image-layout.md), without the entries that are not images.
 * @throws PreloaderError
 */
export async function readLayoutIndex(archive: Archive): Promise<Descriptor[]> {
  return imagesOf(parse(archive, OCI_INDEX, await archive.read(OCI_INDEX, MAX_MANIFEST_BYTES), indexSchema));
}

/** A manifest, or an index of several, and its bytes. @throws PreloaderError if it is neither */
export async function readNode(
  archive: Archive,
  descriptor: Descriptor,
): Promise<{ readonly bytes: Buffer; readonly manifest?: Manifest; readonly index?: Descriptor[] }> {
  const entry = blobEntry(descriptor.digest);
  const type = descriptor.mediaType ?? '';
  const bytes = await readBlob(archive, descriptor, MAX_MANIFEST_BYTES);
  if (MANIFEST.test(type)) return { bytes, manifest: parse(archive, entry, bytes, manifestSchema) };
  if (INDEX.test(type)) return { bytes, index: imagesOf(parse(archive, entry, bytes, indexSchema)) };
  throw archiveError(
    archive.name,
    `entry '${entry}': expected an image manifest or index, found the media type '${type}'`,
  );
}

/** Whether it may stand for several manifests, one for each platform. */
export function isIndex({ mediaType }: Descriptor): boolean {
  return INDEX.test(mediaType ?? '');
}

/**
 * The platform that a manifest is for, from its descriptor or else from its configuration, where containerd looks as
 * well (images.Manifest).
 * @throws PreloaderError
 */
export async function platformOf(archive: Archive, descriptor: Descriptor): Promise<Platform | undefined> {
  const { platform } = descriptor;
  if (platform !== undefined && platform !== null) return { ...platform, variant: platform.variant };
  if (isIndex(descriptor)) return undefined;
  const { manifest } = await readNode(archive, descriptor);
  return manifest === undefined
    ? undefined
    : platformOfConfig(await readBlob(archive, manifest.config, MAX_CONFIG_BYTES));
}

/** A blob that is read in one piece. @throws PreloaderError if it is not what the descriptor says */
export async function readBlob(archive: Archive, descriptor: Descriptor, limitBytes: number): Promise<Buffer> {
  const entry = blobEntry(descriptor.digest);
  const bytes = await archive.read(entry, limitBytes);
  const found = sha256(bytes);
  if (found !== descriptor.digest) {
    throw archiveError(
      archive.name,
      `entry '${entry}': expected content with digest ${descriptor.digest}, found ${found}`,
    );
  }
  checkSize(archive, descriptor, bytes.length);
  return bytes;
}

/** @throws PreloaderError if a blob does not have the size that its descriptor says */
export function checkSize(archive: Archive, { digest, size }: Descriptor, found: number): void {
  if (found !== size)
    throw archiveError(archive.name, `entry '${blobEntry(digest)}': expected ${plural(size, 'byte')}, found ${found}`);
}

export function blobEntry(blobDigest: string): string {
  return `blobs/sha256/${hexOf(blobDigest)}`;
}

/** Without the attestations that buildx adds beside each image. */
function imagesOf({ manifests }: z.infer<typeof indexSchema>): Descriptor[] {
  return manifests.filter(
    ({ platform, annotations }) =>
      platform?.os !== 'unknown' && annotations?.['vnd.docker.reference.type'] !== 'attestation-manifest',
  );
}

function parse<Schema extends z.ZodMiniType>(
  archive: Archive,
  entry: string,
  bytes: Buffer,
  schema: Schema,
): z.infer<Schema> {
  try {
    return parseJson(bytes.toString('utf8'), schema);
  } catch (error) {
    throw archiveError(archive.name, `entry '${entry}': ${messageOf(error)}`, error);
  }
}
