import { MAX_CONFIG_BYTES } from '../../docker/image-config.ts';
import { isTag } from '../../docker/reference.ts';
import { PreloaderError } from '../../system/errors.ts';
import { plural } from '../../text/plural.ts';
import type { Archive } from './archive.ts';
import { parseArchivedConfig } from './docker-archive.ts';
import { archiveError } from './archive-error.ts';
import { familiarReference } from './image-name.ts';
import type { ArchiveContent, InputImage, ManifestsOf, NamedManifests, RegistryManifest } from './input-image.ts';
import {
  blobEntry,
  checkSize,
  isIndex,
  MAX_DEPTH,
  OCI_INDEX,
  platformOf,
  readBlob,
  readLayoutIndex,
  readNode,
  type Descriptor,
  type Manifest,
} from './oci-index.ts';
import { layerSource } from './layer-source.ts';
import { describePlatform, rankOf, type Platform, type PlatformChoice } from './platform.ts';

const CONFIG = /^application\/vnd\.(?:oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/;
const OCI_LAYER = /^application\/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+(?:gzip|zstd))?$/;
const DOCKER_LAYER = /^application\/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.(?:gzip|zstd))?$/;

type Node = Awaited<ReturnType<typeof readNode>>;

/** A manifest or index that may be the right one. */
interface Candidate {
  readonly descriptor: Descriptor;
  readonly rank: number;
}

/** On the way through indexes that name each other. */
interface Search {
  readonly depth: number;
  /** Whether nothing else stands beside what is looked through. */
  readonly isOnly: boolean;
  /** The digests of the indexes that were looked through. */
  readonly seen: Set<string>;
  /** The platforms that were found there. */
  readonly others: (Platform | undefined)[];
}

interface Found {
  readonly manifest: Manifest;
  /** How well it suits: 0 is best, infinite where no platform is named. */
  readonly rank: number;
  /** The indexes that led to the manifest, the outermost first, and the manifest itself. */
  readonly blobs: readonly RegistryManifest[];
}

/**
 * The images of an OCI layout (OCI image spec, image-layout.md): of each index and each name, the one for the platform.
 * @throws PreloaderError with the entry, what was expected and what was found
 */
export async function readOciLayout(archive: Archive, choice: PlatformChoice): Promise<ArchiveContent> {
  const images: InputImage[] = [];
  const leftOut: string[] = [];
  // docker 25 to 28 list the platforms side by side under the same name.
  const groups = Map.groupBy(await readLayoutIndex(archive), nameOf);
  for (const [name, group] of groups) {
    const { chosen, others } = await choose(archive, group, choice);
    if (chosen.length === 0 && groups.size === 1) throw noPlatform(archive, OCI_INDEX, choice, others);
    if (chosen.length === 0) {
      leftOut.push(`${name === '' ? 'an image without name' : name} (${others.map(describe).join(', ')})`);
    }
    for (const one of chosen) {
      const others: (Platform | undefined)[] = [];
      const found = await resolve(archive, one, choice, { depth: 0, isOnly: true, seen: new Set(), others });
      if (found === undefined) throw noPlatform(archive, blobEntry(one.descriptor.digest), choice, others);
      images.push(await readImage(archive, name, found));
    }
  }
  return { images, leftOut };
}

async function readImage(archive: Archive, name: string, { manifest, blobs }: Found): Promise<InputImage> {
  checkMediaType(archive, manifest.config, [CONFIG], 'an image configuration');
  const config = await readBlob(archive, manifest.config, MAX_CONFIG_BYTES);
  const parsed = parseArchivedConfig(archive, blobEntry(manifest.config.digest), config, manifest.config.digest);
  if (manifest.layers.length !== parsed.diffIDs.length) {
    throw archiveError(
      archive.name,
      `image ${parsed.id}: expected ${plural(parsed.diffIDs.length, 'layer')}, as in its configuration, ` +
        `found ${manifest.layers.length} in its manifest`,
    );
  }
  for (const layer of manifest.layers) {
    checkMediaType(archive, layer, [OCI_LAYER, DOCKER_LAYER], 'a layer');
    const entry = blobEntry(layer.digest);
    // Checked before it is read, because a sparse file can claim any size.
    if (archive.has(entry)) checkSize(archive, layer, archive.sizeOf(entry));
  }
  return {
    ...parsed,
    archive,
    config,
    sources: await Promise.all(
      manifest.layers.map((layer) => layerSource(archive, blobEntry(layer.digest), layer.digest)),
    ),
    references: referencesIn(name),
    bareTags: isTag(name) ? [name] : [],
    writtenNames: name === '' ? [] : [name],
    manifests: blobs,
    parent: undefined,
  };
}

/**
 * A layout may call an image something that Docker does not accept, such as `App:1` or `1.0+git` (OCI image spec,
 * annotations.md). The image then has no name.
 */
function referencesIn(name: string): string[] {
  if (!/[:/]/.test(name)) return [];
  try {
    return [familiarReference(name)];
  } catch {
    return [];
  }
}

/** The full name that containerd's tools write, or else the name or the bare tag that skopeo and umoci write. */
function nameOf({ annotations }: Descriptor): string {
  return annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'] ?? '';
}

/**
 * Of the manifests listed side by side: the best ones for the platform, then those that name no platform (moby,
 * filterManifests).
 */
async function choose(
  archive: Archive,
  descriptors: readonly Descriptor[],
  choice: PlatformChoice,
  isOnly = true,
): Promise<{ readonly chosen: readonly Candidate[]; readonly others: readonly (Platform | undefined)[] }> {
  const known = new Map<string, Platform | undefined>();
  // If there is only one, it names no platform, and none was asked for, then there is nothing to choose.
  const mayReadConfig = choice.asked || descriptors.length > 1 || !isOnly;
  for (const descriptor of descriptors) {
    if (!known.has(descriptor.digest)) {
      known.set(
        descriptor.digest,
        mayReadConfig || descriptor.platform ? await platformOf(archive, descriptor) : undefined,
      );
    }
  }
  const ranked = descriptors.map((descriptor) => {
    const platform = known.get(descriptor.digest);
    return { descriptor, platform, rank: platform === undefined ? undefined : rankOf(choice, platform) };
  });
  const best = Math.min(...ranked.flatMap(({ rank }) => rank ?? []));
  const chosen = ranked.filter(({ rank }) => rank === best);
  const open = ranked.filter(
    ({ descriptor, platform }) => platform === undefined && (!choice.asked || isIndex(descriptor)),
  );
  return {
    chosen: [...chosen, ...open].map(({ descriptor, rank = Infinity }) => ({ descriptor, rank })),
    others: ranked.map(({ platform }) => platform),
  };
}

/**
 * The best manifest for the platform that a manifest or index leads to; undefined if there is none. An index in an
 * index need not name a platform, so each of them is looked through.
 */
async function resolve(
  archive: Archive,
  { descriptor, rank }: Candidate,
  choice: PlatformChoice,
  { depth, isOnly, seen, others }: Search,
): Promise<Found | undefined> {
  const { bytes, manifest, index } = await readNode(archive, descriptor);
  const blob = { mediaType: descriptor.mediaType ?? '', digest: descriptor.digest, bytes };
  if (manifest !== undefined) return { manifest, rank, blobs: [blob] };
  const entry = blobEntry(descriptor.digest);
  if (depth === MAX_DEPTH) {
    throw archiveError(archive.name, `entry '${entry}': expected indexes at most ${MAX_DEPTH} deep, found more`);
  }
  if (seen.has(descriptor.digest)) return undefined;
  seen.add(descriptor.digest);
  const entries = index ?? [];
  const listed = await choose(archive, entries, choice, isOnly);
  others.push(...listed.others.filter((_, at) => !entries.slice(at, at + 1).some(isIndex)));
  const below = { depth: depth + 1, isOnly: isOnly && listed.chosen.length === 1, seen, others };
  let best: Found | undefined;
  for (const one of listed.chosen) {
    if (best !== undefined && (best.rank === 0 || !isIndex(one.descriptor))) continue;
    const found = await resolve(archive, one, choice, below);
    if (found !== undefined && (best === undefined || found.rank < best.rank)) best = found;
  }
  return best === undefined ? undefined : { ...best, blobs: [blob, ...best.blobs] };
}

/**
 * The registry's manifests in an archive of docker 25 or later, by image. They are the ones whose layers are compressed
 * blobs; the manifests that docker makes up for images without one name uncompressed layers.
 */
export async function registryManifests(archive: Archive): Promise<ManifestsOf> {
  const found = new Map<string, (NamedManifests & { readonly layers: readonly string[] })[]>();
  const nodes = new Map<string, Promise<Node | undefined>>();
  const nodeOf = (descriptor: Descriptor): Promise<Node | undefined> => {
    const key = `${descriptor.digest} ${descriptor.size} ${descriptor.mediaType ?? ''}`;
    const node = nodes.get(key) ?? unlessLacking(readNode(archive, descriptor));
    nodes.set(key, node);
    return node;
  };
  const visit = async (
    descriptor: Descriptor,
    name: string | undefined,
    above: readonly RegistryManifest[],
    seen: Set<string>,
  ): Promise<void> => {
    if (seen.has(descriptor.digest) || above.length > MAX_DEPTH) return;
    seen.add(descriptor.digest);
    const node = await nodeOf(descriptor);
    if (node === undefined) return;
    const { digest, mediaType = '' } = descriptor;
    const manifests = [...above, { mediaType, digest, bytes: node.bytes }];
    const { manifest, index = [] } = node;
    if (manifest?.layers.some((layer) => /(?:gzip|zstd)$/.test(layer.mediaType ?? '')) === true) {
      const layers = manifest.layers.map((layer) => blobEntry(layer.digest));
      const known = found.get(manifest.config.digest);
      if (known === undefined) found.set(manifest.config.digest, [{ name, manifests, layers }]);
      else known.push({ name, manifests, layers });
    }
    for (const one of index) await visit(one, name, manifests, seen);
  };
  if (archive.has(OCI_INDEX)) {
    for (const one of (await unlessLacking(readLayoutIndex(archive))) ?? [])
      await visit(one, referencesIn(nameOf(one))[0], [], new Set());
  }
  return (imageId, layers) => {
    const all = found.get(imageId) ?? [];
    const same = all.filter((one) => one.layers.join() === layers.join());
    return same.length > 0 ? same : all;
  };
}

/**
 * The images themselves are read by manifest.json. If blobs are missing here, say of other platforms, only the
 * registry's names are lost.
 */
async function unlessLacking<Value>(reading: Promise<Value>): Promise<Value | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof PreloaderError) return undefined;
    throw error;
  }
}

function describe(platform: Platform | undefined): string {
  return platform === undefined ? 'one without platform' : describePlatform(platform);
}

function noPlatform(
  archive: Archive,
  entry: string,
  { platform }: PlatformChoice,
  found: readonly (Platform | undefined)[],
): Error {
  return archiveError(
    archive.name,
    `entry '${entry}': expected an image for ${describePlatform(platform)}, ` +
      `found ${found.map(describe).join(', ') || 'none'}: choose with --platform`,
  );
}

function checkMediaType(archive: Archive, descriptor: Descriptor, expected: readonly RegExp[], what: string): void {
  if (!expected.some((type) => type.test(descriptor.mediaType ?? ''))) {
    throw archiveError(
      archive.name,
      `entry '${blobEntry(descriptor.digest)}': expected ${what}, found the media type '${descriptor.mediaType ?? ''}'`,
    );
  }
}
