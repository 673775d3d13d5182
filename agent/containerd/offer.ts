import { offerOf, type RankedDisk } from '../merge/offer.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { readImageTargets, type ImageTarget } from '../disk/image-targets.ts';
import type { DiskImage } from '../disk/read-disk.ts';
import type { ChainID } from '../docker/ids.ts';
import { asImageID, type ImageID } from '../docker/ids.ts';
import type { Finding } from '../messages/finding.ts';
import { danglingName, fullName, MOBY, repositoryIn } from './image-name.ts';
import { LinkFarm } from './link-farm.ts';
import type { Descriptor } from './services.ts';

/** A disk's content with its place among the disks. */
export interface OfferedDisk extends RankedDisk {
  /** What its images are in containerd's store; those of a disk of format 1.0 are made. */
  readonly targets: readonly ImageTarget[];
  /** What of them was left out. */
  readonly faults: readonly Finding[];
}

/** A disk as it is offered. @param mounted where it is mounted */
export function offerDisk(disk: RankedDisk, mounted: string): OfferedDisk {
  const { targets, findings } = readImageTargets(disk.content, new FolderReader(mounted));
  return { ...disk, targets, faults: findings };
}

export interface OfferedImage {
  readonly image: DiskImage;
  /** What a record of the image names: its manifest, or an index with that. */
  readonly target: Descriptor;
  readonly parts: ImageTarget;
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

/** What of the disks is not asked for. */
export interface OfferLimits {
  /** Whether the user has a layer: then that is used as it is. */
  readonly isUsers: (chain: ChainID) => boolean;
  /** Images that there is no room for. */
  readonly beyond: ReadonlyMap<ImageID, unknown>;
}

/** Puts the disks together, as for dockerd's own store, and names images as containerd does. */
export function namespaceOffer(
  disks: readonly OfferedDisk[],
  namespace: string,
  { isUsers, beyond }: OfferLimits,
): NamespaceOffer {
  const { images, references, named, layers, findings } = offerOf(disks, {
    users: (chain) => (isUsers(chain) ? true : undefined),
    beyond,
  });
  const targets = new Targets(disks);
  const names = new Map<string, OfferedName>();
  for (const [reference, { image: id, label }] of references) {
    const image = images.get(id);
    // A digest names a manifest or an index: an image may have several, and one that is made is another than the registry's.
    const target = image === undefined ? undefined : targets.of(image, reference, label);
    if (image === undefined || target === undefined) continue;
    // A tag's record tells the digest, too (moby, daemon/containerd/image_list.go); one of its own has what is pulled by digest alone.
    if (reference.includes('@') && target.references.some((name) => repositoryIn(name) === repositoryIn(reference)))
      continue;
    names.set(fullName(reference), { image: offeredImage(image, target), label });
  }
  if (namespace === MOBY) {
    const parents = new Set([...images.values()].map(({ metadata }) => asImageID(metadata.get('parent')?.toString())));
    for (const image of images.values()) {
      const target =
        named.has(image.id) || parents.has(image.id) ? undefined : targets.of(image, undefined, image.label);
      if (target !== undefined)
        names.set(danglingName(target.target.digest), { image: offeredImage(image, target), label: image.label });
    }
  }
  return {
    names,
    layers: new Map([...layers].map(([chain, [first]]) => [chain, first?.label ?? ''])),
    findings: [...findings, ...disks.flatMap(({ faults }) => faults)],
  };
}

function offeredImage(image: DiskImage, parts: ImageTarget): OfferedImage {
  const { mediaType, digest, sizeBytes } = parts.target;
  return { image, target: { mediaType, digest, size: sizeBytes, annotations: new Map() }, parts };
}

/** The disks' targets. One that a disk has is better than one that was made for it. */
class Targets {
  readonly #byImage: ReadonlyMap<string, readonly (readonly [label: string, target: ImageTarget])[]>;

  constructor(disks: readonly OfferedDisk[]) {
    const all = disks.flatMap(({ content: { label }, targets }) => targets.map((target) => [label, target] as const));
    this.#byImage = Map.groupBy(all, ([, { image }]) => image);
  }

  /**
   * What a name of an image leads to.
   * @param reference undefined for an image without a name
   * @param label of the disk that the name is from
   */
  of({ id }: DiskImage, reference: string | undefined, label: string): ImageTarget | undefined {
    const all = this.#byImage.get(id) ?? [];
    const digest = reference?.split('@')[1];
    if (digest !== undefined) return all.find(([, { target }]) => target.digest === digest)?.[1];
    const worth = ([disk, { references, isMade }]: readonly [string, ImageTarget]): number =>
      (isMade ? 0 : 4) + (disk === label ? 2 : 0) + (reference !== undefined && references.includes(reference) ? 1 : 0);
    return all.toSorted((a, b) => worth(b) - worth(a))[0]?.[1];
  }
}

/** A layer's bytes as a registry has them, in a file on a mounted disk. */
interface Blob {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly path: string;
}

/** The bytes of an image's layers; none where its disk has not all of them. */
export function blobsOf({ layers }: ImageTarget): readonly Blob[] {
  const blobs = layers.flatMap(({ descriptor: { digest, sizeBytes }, blobPath }) =>
    blobPath === undefined ? [] : [{ digest, sizeBytes, path: blobPath }],
  );
  return blobs.length === layers.length ? blobs : [];
}

/** The links that containerd's store needs for all that the disks have, in the order of precedence. */
export function farmLinks(farm: LinkFarm, disks: readonly OfferedDisk[]): ReadonlyMap<string, string> {
  const links = new Map<string, string>();
  const { layers } = offerOf(disks, { users: () => undefined, beyond: new Map() });
  for (const [chain, [layer]] of layers) if (layer !== undefined) links.set(farm.layer(chain), layer.diffPath);
  for (const { targets } of disks.toReversed())
    for (const { digest, path } of targets.flatMap(blobsOf)) links.set(farm.blob(digest), path);
  return links;
}

/** Fills the link farm alone: before containerd starts, so that what is in its store already leads somewhere. */
export function fillFarm(farmRoot: string, disks: readonly OfferedDisk[]): number {
  const farm = new LinkFarm(farmRoot);
  return farm.fill(farmLinks(farm, disks));
}
