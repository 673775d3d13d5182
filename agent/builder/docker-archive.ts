import * as z from 'zod/mini';
import { asImageID, sha256 } from '../docker/ids.ts';
import { MAX_CONFIG_BYTES, parseImageConfig, type ImageConfig } from '../docker/image-config.ts';
import { messageOf } from '../system/errors.ts';
import { parseJson } from '../system/parse.ts';
import type { Archive } from './archive.ts';
import { archiveError } from './fail.ts';
import { familiarReference } from './image-name.ts';
import type { InputImage, RegistryManifest } from './input-image.ts';
import { printable } from './layer-tree.ts';

export const DOCKER_MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

const manifestSchema = z.array(z.looseObject({
  Config: z.string(),
  RepoTags: z.nullish(z.array(z.string())),
  Layers: z.nullish(z.array(z.string())),
}));

/**
 * The images of a `docker save` archive, by its manifest.json (moby, image/tarexport/load.go).
 * @param manifestsOf the registry's manifests of an image, by its configuration's digest, where the archive has them
 */
export async function readDockerArchive(archive: Archive, manifestsOf: (imageId: string) => readonly RegistryManifest[]): Promise<InputImage[]> {
  const text = (await archive.read(DOCKER_MANIFEST, MAX_MANIFEST_BYTES)).toString('utf8');
  let manifest: z.infer<typeof manifestSchema>;
  try {
    manifest = parseJson(text, manifestSchema);
  } catch (error) {
    throw archiveError(archive.name, `entry '${DOCKER_MANIFEST}': ${messageOf(error)}`, error);
  }
  const images: InputImage[] = [];
  for (const { Config: configEntry, RepoTags: tags, Layers: layers } of manifest) {
    const config = await archive.read(configEntry, MAX_CONFIG_BYTES);
    const parsed = parseConfig(archive, configEntry, config, digestIn(configEntry));
    const entries = layers ?? [];
    if (entries.length !== parsed.diffIDs.length) {
      throw archiveError(archive.name, `image ${parsed.id}: ${parsed.diffIDs.length} layers expected, as in its configuration, found ${entries.length} in ${DOCKER_MANIFEST}`);
    }
    images.push({
      ...parsed,
      archive,
      config,
      sources: entries.map((entry) => ({ archive, entry, blobDigest: digestIn(entry) })),
      references: (tags ?? []).map((tag) => reference(archive, tag)),
      manifests: manifestsOf(parsed.id),
    });
  }
  return images;
}

/** Parses an image's configuration and checks it against the digest that the archive names it by. */
export function parseConfig(archive: Archive, entry: string, config: Buffer, expected: string | undefined): ImageConfig {
  const digest = sha256(config);
  if (expected !== undefined && expected !== digest) {
    throw archiveError(archive.name, `entry '${printable(entry)}': a configuration with digest ${expected} expected, found ${digest}`);
  }
  const id = asImageID(digest);
  if (id === undefined) throw new Error(`a digest expected, found ${digest}`);
  try {
    return parseImageConfig(config, id);
  } catch (error) {
    throw archiveError(archive.name, `entry '${printable(entry)}': ${messageOf(error)}`, error);
  }
}

export function reference(archive: Archive, text: string): string {
  try {
    return familiarReference(text);
  } catch (error) {
    throw archiveError(archive.name, messageOf(error), error);
  }
}

/** `<64 hex>.json` and `blobs/sha256/<64 hex>` are named by what is in them; `<64 hex>/layer.tar` is not. */
function digestIn(entry: string): string | undefined {
  const match = /^(?:blobs\/sha256\/([0-9a-f]{64})|([0-9a-f]{64})\.json)$/.exec(entry);
  return match === null ? undefined : `sha256:${match[1] ?? match[2] ?? ''}`;
}
