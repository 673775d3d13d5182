import { byPrecedence, offerOf, type RankedDisk } from '../merge/offer.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { readImageTargets, type ImageTarget } from '../disk/image-targets.ts';
import type { DiskImage } from '../disk/read-disk.ts';
import { MOBY } from '../docker/daemon-config.ts';
import type { ChainID } from '../docker/ids.ts';
import { asImageID, type ImageID } from '../docker/ids.ts';
import { fullName, repositoryOf } from '../docker/reference.ts';
import type { Finding } from '../messages/finding.ts';
import { danglingName } from './record-names.ts';
import { LinkFarm } from './link-farm.ts';
import type { Descriptor } from './api/services.ts';

/** This many faults are told. */
const MAX_FINDINGS = 50;

/** A disk's content with its place among the disks. */
export interface OfferedDisk extends RankedDisk {
  /** What its images are in containerd's store. For a disk of format 1.0, manifests are made. */
  readonly targets: readonly ImageTarget[];
  /** Says what was left out of them. */
  readonly faults: readonly Finding[];
}

/** A disk as it is offered. @param mounted where it is mounted */
export function offerDisk(disk: RankedDisk, mounted: string): OfferedDisk {
  const { targets, findings } = readImageTargets(disk.content, new FolderReader(mounted));
  return { ...disk, targets, faults: findings };
}

export interface OfferedImage {
  readonly image: DiskImage;
  /** The label of the disk that its manifests and blobs are from. */
  readonly disk: string;
  /** What a record of the image names: its manifest, or an index with that. */
  readonly target: Descriptor;
  readonly parts: ImageTarget;
}

/** A name with what it is to lead to. */
export interface OfferedName {
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

/** What is not wanted from the disks. */
export interface OfferLimits {
  /** Whether the user has a layer, which is then used as it is. */
  readonly isUsers: (chain: ChainID) => boolean;
  /** Images that there is no room for. */
  readonly beyond: ReadonlyMap<ImageID, unknown>;
}

/** Puts together what the disks offer, as for dockerd's own store, and names images as containerd does. */
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
  const blobs = blobsOn(disks);
  const faults: Finding[] = [];
  const offeredImage = (image: DiskImage, { disk, target }: TargetOfDisk): OfferedImage => {
    const { mediaType, digest, sizeBytes } = target.target;
    const parts = withoutOthers(disk, target, blobs, faults);
    return { image, disk, target: { mediaType, digest, size: sizeBytes, annotations: new Map() }, parts };
  };
  const names = new Map<string, OfferedName>();
  for (const [reference, { image: id, label }] of references) {
    const image = images.get(id);
    // A digest names a manifest or an index. An image may have several, and one that was made differs from the
    // registry's.
    const found = image === undefined ? undefined : targets.of(image, reference, label);
    if (image === undefined || found === undefined) continue;
    // The record of a tag also tells the digest (moby, daemon/containerd/image_list.go). Only an image that was pulled
    // by digest alone has a record for that.
    if (reference.includes('@') && targets.repositoriesOf(found.target).has(repositoryOf(reference))) continue;
    names.set(fullName(reference), { image: offeredImage(image, found), label });
  }
  if (namespace === MOBY) {
    const parents = new Set([...images.values()].map(({ metadata }) => asImageID(metadata.get('parent')?.toString())));
    for (const image of images.values()) {
      const found =
        named.has(image.id) || parents.has(image.id) ? undefined : targets.of(image, undefined, image.label);
      if (found !== undefined)
        names.set(danglingName(found.target.target.digest), { image: offeredImage(image, found), label: image.label });
    }
  }
  return {
    names,
    layers: new Map([...layers].map(([chain, [first]]) => [chain, first?.label ?? ''])),
    findings: [...findings, ...disks.flatMap((disk) => disk.faults), ...faults],
  };
}

/**
 * An image without the blobs of which another disk has a file of another size. containerd has one file for each digest.
 */
function withoutOthers(
  label: string,
  target: ImageTarget,
  blobs: ReadonlyMap<string, Blob>,
  faults: Finding[],
): ImageTarget {
  const others = new Set<string>();
  for (const { digest, sizeBytes, path } of blobsOf(target)) {
    const taken = blobs.get(digest);
    if (taken === undefined || taken.sizeBytes === sizeBytes) continue;
    others.add(digest);
    const message = `disk ${label}: a layer's blob is left out: ${path}: expected ${taken.sizeBytes} bytes, as in ${taken.path}, found ${sizeBytes}`;
    if (faults.length < MAX_FINDINGS && !faults.some((fault) => fault.message === message))
      faults.push({ code: 'LAYER_INVALID', label, message });
  }
  if (others.size === 0) return target;
  const layers = target.layers.map((layer) =>
    others.has(layer.descriptor.digest) ? { ...layer, blobPath: undefined } : layer,
  );
  return { ...target, layers };
}

interface TargetOfDisk {
  readonly disk: string;
  readonly target: ImageTarget;
}

/** What one disk has as an image's manifests. A disk of format 1.0 has none, so one is made. */
interface TargetsOfDisk {
  readonly label: string;
  readonly first: ImageTarget;
  readonly byReference: ReadonlyMap<string, ImageTarget>;
  readonly byDigest: ReadonlyMap<string, ImageTarget>;
}

/** The disks' targets. A manifest that a disk has is better than one that was made for it. */
class Targets {
  readonly #byImage = new Map<string, TargetsOfDisk[]>();
  readonly #repositories = new Map<ImageTarget, ReadonlySet<string>>();

  constructor(disks: readonly OfferedDisk[]) {
    for (const { content, targets } of disks)
      for (const [image, all] of Map.groupBy(targets, (target) => target.image)) {
        const [first] = all;
        if (first === undefined) continue;
        const ofDisk = {
          label: content.label,
          first,
          byReference: new Map(all.flatMap((target) => target.references.map((name) => [name, target] as const))),
          byDigest: new Map(all.map((target) => [target.target.digest, target])),
        };
        const others = this.#byImage.get(image);
        if (others === undefined) this.#byImage.set(image, [ofDisk]);
        else others.push(ofDisk);
      }
  }

  /**
   * What a name of an image leads to.
   * @param reference undefined for an image without a name
   * @param label of the disk that the name is from
   */
  of({ id }: DiskImage, reference: string | undefined, label: string): TargetOfDisk | undefined {
    const disks = this.#byImage.get(id) ?? [];
    const digest = reference?.split('@')[1];
    if (digest !== undefined) {
      const found = disks.find(({ byDigest }) => byDigest.has(digest));
      const target = found?.byDigest.get(digest);
      return found === undefined || target === undefined ? undefined : { disk: found.label, target };
    }
    const best = disks
      .map((disk) => {
        const named = reference === undefined ? undefined : disk.byReference.get(reference);
        const target = named ?? disk.first;
        const worth = (target.isMade ? 0 : 4) + (disk.label === label ? 2 : 0) + (named === undefined ? 0 : 1);
        return { disk: disk.label, target, worth };
      })
      .toSorted((a, b) => b.worth - a.worth);
    return best[0];
  }

  /** The repositories of the tags that lead to it. */
  repositoriesOf(target: ImageTarget): ReadonlySet<string> {
    const known = this.#repositories.get(target) ?? new Set(target.references.map(repositoryOf));
    this.#repositories.set(target, known);
    return known;
  }
}

/** A layer's bytes as a registry has them, in a file on a mounted disk. */
interface Blob {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly path: string;
}

/** The blobs of an image's layers, or none if its disk lacks any of them. */
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
  for (const [digest, { path }] of blobsOn(disks)) links.set(farm.blob(digest), path);
  return links;
}

/** The file for each blob. It is on the disk that would also be chosen for a layer. */
function blobsOn(disks: readonly OfferedDisk[]): ReadonlyMap<string, Blob> {
  const blobs = new Map<string, Blob>();
  for (const isPinned of [false, true])
    for (const { content, targets } of disks.toSorted(byPrecedence))
      if (content.pinned === isPinned) for (const blob of targets.flatMap(blobsOf)) blobs.set(blob.digest, blob);
  return blobs;
}

/**
 * Fills only the link farm, before containerd starts, so that the links that are already in its store lead somewhere.
 */
export function fillFarm(farmRoot: string, disks: readonly OfferedDisk[]): number {
  const farm = new LinkFarm(farmRoot);
  return farm.fill(farmLinks(farm, disks));
}
