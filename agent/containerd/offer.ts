import { offerOf, type RankedDisk } from '../merge/offer.ts';
import type { DiskImage } from '../disk/read-disk.ts';
import type { ChainID, ImageID } from '../docker/ids.ts';
import { asImageID } from '../docker/ids.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf } from '../system/errors.ts';
import { danglingName, fullName, MOBY } from './image-name.ts';
import { makeManifest, parseManifest, type ImageManifest } from './image-manifest.ts';
import type { LinkFarm } from './link-farm.ts';
import type { Descriptor } from './services.ts';

/** The bytes of a layer as a registry has them, in a file on a mounted disk. */
interface DiskBlob {
  readonly path: string;
  readonly sizeBytes: number;
}

/** What a disk has of its images as a registry has them. */
export interface DiskBlobs {
  readonly manifests: ReadonlyMap<ImageID, Buffer>;
  /** By digest. */
  readonly blobs: ReadonlyMap<string, DiskBlob>;
}

/** A disk's content with its place among the disks. */
export interface OfferedDisk extends RankedDisk {
  /** Undefined where the disk has none. */
  readonly blobs?: DiskBlobs | undefined;
}

export interface OfferedImage {
  readonly image: DiskImage;
  readonly manifest: ImageManifest;
  readonly target: Descriptor;
  /** Files of its layers; none where a disk has not all of them. */
  readonly blobs: ReadonlyMap<string, DiskBlob>;
}

interface OfferedName {
  readonly image: OfferedImage;
  readonly label: string;
}

/** What the disks offer to one namespace. */
export interface NamespaceOffer {
  /** By whole name. */
  readonly names: ReadonlyMap<string, OfferedName>;
  /** Layers that a disk has, with the label of the first. */
  readonly layers: ReadonlyMap<ChainID, string>;
  readonly findings: readonly Finding[];
}

/** Layers that a namespace has already. */
export interface LayersThere {
  /** Whether the user has it: then it is used as it is. */
  isUsers(chain: ChainID): boolean;
}

/** Puts the disks together, as for dockerd's own store, and names images as containerd does. */
export function namespaceOffer(disks: readonly OfferedDisk[], namespace: string, there: LayersThere): NamespaceOffer {
  const { images, references, named, layers, findings } = offerOf(disks, {
    users: (chain) => (there.isUsers(chain) ? true : undefined),
    beyond: new Map(),
  });
  const faults: Finding[] = [];
  const offered = new Map<ImageID, OfferedImage>();
  for (const image of images.values()) {
    const made = makeManifest(
      image,
      image.chains.map((chain) => layers.get(chain)?.[0]),
    );
    offered.set(image.id, withBlobs(image, disks, faults) ?? toOffered(image, made, new Map()));
  }

  const names = new Map<string, OfferedName>();
  for (const [reference, { image: id, label }] of references) {
    const image = offered.get(id);
    // A digest names a manifest: one that we have made is another than the registry's.
    if (image === undefined || (reference.includes('@') && !reference.endsWith(`@${image.target.digest}`))) continue;
    names.set(fullName(reference), { image, label });
  }
  if (namespace === MOBY) {
    const parents = new Set([...images.values()].map(({ metadata }) => asImageID(metadata.get('parent')?.toString())));
    for (const image of offered.values())
      if (!named.has(image.image.id) && !parents.has(image.image.id))
        names.set(danglingName(image.target.digest), { image, label: image.image.label });
  }
  return {
    names,
    layers: new Map([...layers].map(([chain, [first]]) => [chain, first?.label ?? ''])),
    findings: [...findings, ...faults],
  };
}

function withBlobs(image: DiskImage, disks: readonly OfferedDisk[], faults: Finding[]): OfferedImage | undefined {
  const own = disks.find(({ content }) => content.label === image.label);
  for (const { content, blobs } of own === undefined ? disks : [own, ...disks]) {
    const bytes = blobs?.manifests.get(image.id);
    if (blobs === undefined || bytes === undefined) continue;
    try {
      const manifest = parseManifest(bytes, image);
      const files = manifest.layers.map((digest) => [digest, blobs.blobs.get(digest)] as const);
      const found = files.flatMap(([digest, file]) => (file === undefined ? [] : [[digest, file] as const]));
      return toOffered(image, manifest, found.length === files.length ? new Map(found) : new Map());
    } catch (error) {
      faults.push({
        code: 'IMAGE_INVALID',
        label: content.label,
        image: image.id,
        message: `disk ${content.label}: the manifest of image ${image.id} is left out: ${messageOf(error)}`,
      });
    }
  }
  return undefined;
}

function toOffered(image: DiskImage, manifest: ImageManifest, blobs: ReadonlyMap<string, DiskBlob>): OfferedImage {
  const { digest, mediaType, bytes } = manifest;
  return {
    image,
    manifest,
    target: { mediaType, digest, size: bytes.length, annotations: new Map() },
    blobs,
  };
}

/** The links that containerd's store needs for all that the disks have, in the order of precedence. */
export function farmLinks(farm: LinkFarm, disks: readonly OfferedDisk[]): ReadonlyMap<string, string> {
  const links = new Map<string, string>();
  const { layers } = offerOf(disks, { users: () => undefined, beyond: new Map() });
  for (const [chain, [layer]] of layers) if (layer !== undefined) links.set(farm.layer(chain), layer.diffPath);
  for (const { blobs } of disks.toReversed())
    for (const [digest, { path }] of blobs?.blobs ?? []) links.set(farm.blob(digest), path);
  return links;
}
