import * as z from 'zod/mini';
import { asImageID, sha256 } from '../../docker/ids.ts';
import { MAX_CONFIG_BYTES, parseImageConfig, type ImageConfig } from '../../docker/image-config.ts';
import { isRecord } from '../../text/is-record.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { parseJson } from '../../text/parse-json.ts';
import { plural } from '../../text/plural.ts';
import type { Archive } from './archive.ts';
import { checkTimes } from './config-times.ts';
import { archiveError, noImages } from './archive-error.ts';
import { familiarReference } from './image-name.ts';
import type { ArchiveContent, InputImage, ManifestsOf, NamedManifests } from './input-image.ts';
import { layerSource } from './layer-source.ts';
import { printable } from '../../text/printable.ts';
import { parentsOf, type ParentLink } from './parent-link.ts';
import { describePlatform, platformOfConfig, rankOf, type Platform, type PlatformChoice } from './platform.ts';

export const DOCKER_MANIFEST = 'manifest.json';
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

const manifestSchema = z.array(
  z.looseObject({
    Config: z.string(),
    RepoTags: z.nullish(z.array(z.string())),
    Layers: z.nullish(z.array(z.string())),
    Parent: z.nullish(z.string()),
  }),
);

/**
 * The images of a `docker save` archive, as its manifest.json lists them (moby, image/tarexport/load.go).
 * @param manifestsOf the registry's manifests of an image, if the archive has them
 */
export async function readDockerArchive(
  archive: Archive,
  choice: PlatformChoice,
  manifestsOf: ManifestsOf,
): Promise<ArchiveContent> {
  const read: ReadImage[] = [];
  const links: ParentLink[] = [];
  const leftOut: string[] = [];
  for (const { Config: configEntry, RepoTags: tags, Layers: layers, Parent: parent } of await readManifest(archive)) {
    const config = await archive.read(configEntry, MAX_CONFIG_BYTES);
    const parsed = parseArchivedConfig(archive, configEntry, config, digestIn(configEntry));
    const entries = layers ?? [];
    if (entries.length !== parsed.diffIDs.length) {
      throw archiveError(
        archive.name,
        `image ${parsed.id}: expected ${plural(parsed.diffIDs.length, 'layer')}, as in its configuration, ` +
          `found ${entries.length} in ${DOCKER_MANIFEST}`,
      );
    }
    const references = (tags ?? []).map((tag) => reference(archive, tag));
    const platform = platformOfConfig(config);
    if (!serves(choice, platform)) {
      leftOut.push(
        `${references[0] ?? parsed.id} (${platform === undefined ? 'without platform' : describePlatform(platform)})`,
      );
      continue;
    }
    const sources = await Promise.all(entries.map((entry) => layerSource(archive, entry, digestIn(entry))));
    read.push({
      image: { ...parsed, archive, config, sources, bareTags: [], parent: undefined },
      tags: (tags ?? []).map((tag, index) => ({ written: tag, reference: references[index] ?? '' })),
      ways: manifestsOf(parsed.id, entries),
    });
    links.push({ id: parsed.id, config, parent: parent ?? undefined });
  }
  try {
    const parents = parentsOf(links);
    return { images: byManifests(read).map((image) => ({ ...image, parent: parents.get(image.id) })), leftOut };
  } catch (error) {
    throw archiveError(archive.name, `entry '${DOCKER_MANIFEST}': ${messageOf(error)}`, error);
  }
}

interface ReadImage {
  readonly image: Omit<InputImage, 'references' | 'writtenNames' | 'manifests'>;
  /** Those of manifest.json. */
  readonly tags: readonly Tag[];
  readonly ways: readonly NamedManifests[];
}

interface Tag {
  readonly written: string;
  readonly reference: string;
}

/**
 * The images with their tags, one for each manifest that tags lead to. A tag without manifests has the first ones of
 * its image. Of several names that lead to one manifest by different indexes, containerd lists one in manifest.json
 * (core/images/archive/exporter.go); the index of the layout has them all.
 */
function byManifests(read: readonly ReadImage[]): InputImage[] {
  const listed = new Set(read.flatMap(({ tags }) => tags.map(({ reference: one }) => one)));
  const unlisted = new Map<string, Set<string>>();
  for (const { image, ways } of read)
    for (const { name } of ways)
      if (name !== undefined && !listed.has(name))
        unlisted.set(name, (unlisted.get(name) ?? new Set<string>()).add(image.id));
  return read.flatMap(({ image, tags, ways }) => {
    const isOnlyHere = (name: string): boolean => unlisted.get(name)?.size === 1;
    const more = ways.flatMap(({ name }) => (name !== undefined && isOnlyHere(name) ? [name] : []));
    const all = [...tags, ...more.map((name) => ({ written: name, reference: name }))];
    const wayOf = ({ reference: one }: Tag): NamedManifests | undefined =>
      ways.find(({ name }) => name === one) ?? ways[0];
    const groups = Map.groupBy(all, (tag) => wayOf(tag)?.manifests ?? []);
    if (groups.size === 0) groups.set(ways[0]?.manifests ?? [], []);
    return [...groups].map(([manifests, some]) => ({
      ...image,
      references: some.map(({ reference: one }) => one),
      writtenNames: some.map(({ written }) => written),
      manifests,
    }));
  });
}

async function readManifest(archive: Archive): Promise<z.infer<typeof manifestSchema>> {
  const text = (await archive.read(DOCKER_MANIFEST, MAX_MANIFEST_BYTES)).toString('utf8');
  try {
    const document: unknown = JSON.parse(text);
    if (isRecord(document) && 'schemaVersion' in document) {
      throw noImages(
        archive.name,
        "found only a registry's manifest, as skopeo's dir: writes it: " +
          'copy the image, with skopeo copy dir:FOLDER oci:LAYOUT:NAME:TAG',
      );
    }
    return parseJson(text, manifestSchema);
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    throw archiveError(archive.name, `entry '${DOCKER_MANIFEST}': ${messageOf(error)}`, error);
  }
}

/**
 * If no platform was asked for, every image is taken, as by `docker load`, except those of another operating system,
 * which dockerd refuses (CheckOS).
 */
function serves(choice: PlatformChoice, platform: Platform | undefined): boolean {
  if (choice.asked) return platform !== undefined && rankOf(choice, platform) !== undefined;
  return platform === undefined || platform.os.toLowerCase() === choice.platform.os;
}

/** Parses an image's configuration and checks it against the digest in its name in the archive. */
export function parseArchivedConfig(
  archive: Archive,
  entry: string,
  config: Buffer,
  expected: string | undefined,
): ImageConfig {
  const digest = sha256(config);
  if (expected !== undefined && expected !== digest) {
    throw archiveError(
      archive.name,
      `entry '${printable(entry)}': expected a configuration with digest ${expected}, found ${digest}`,
    );
  }
  const id = asImageID(digest);
  if (id === undefined) throw new Error(`expected a digest, found ${digest}`);
  try {
    const image = parseImageConfig(config, id);
    checkTimes(config);
    return image;
  } catch (error) {
    throw archiveError(archive.name, `entry '${printable(entry)}': ${messageOf(error)}`, error);
  }
}

function reference(archive: Archive, text: string): string {
  try {
    return familiarReference(text);
  } catch (error) {
    throw archiveError(archive.name, messageOf(error), error);
  }
}

/**
 * `<64 hex>.json` and `blobs/sha256/<64 hex>` are named after the digest of their content; `<64 hex>/layer.tar` is not.
 */
function digestIn(entry: string): string | undefined {
  const match = /^(?:blobs\/sha256\/([0-9a-f]{64})|([0-9a-f]{64})\.json)$/.exec(entry);
  return match === null ? undefined : `sha256:${match[1] ?? match[2] ?? ''}`;
}
