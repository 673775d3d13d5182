import type { OfferedDisk } from '../../agent/containerd/namespace-offer.ts';
import { emptyNamespaceLedger } from '../../agent/containerd/containerd-ledger.ts';
import { LinkFarm } from '../../agent/containerd/link-farm.ts';
import {
  planNamespace,
  type NamespacePlan,
  type NamespacePlanInput,
} from '../../agent/containerd/plan/plan-namespace.ts';
import type { Present } from '../../agent/containerd/namespace-present.ts';
import { readImageTargets } from '../../agent/disk/image-targets.ts';
import type { DiskContent, DiskImage, DiskLayer } from '../../agent/disk/read-disk.ts';
import { sha256, type DiffID, type ImageID } from '../../agent/docker/ids.ts';
import { parseImageConfig } from '../../agent/docker/image-config.ts';

export interface MadeUpImage {
  /** Any words: the same words are the same layers. */
  readonly layers: readonly string[];
  readonly names: readonly string[];
}

/** An image as a disk would have it. */
function imageOf(label: string, layers: readonly string[]): DiskImage {
  const config = Buffer.from(
    JSON.stringify({ rootfs: { type: 'layers', diff_ids: layers.map((layer) => sha256(layer)) } }),
  );
  return { ...parseImageConfig(config, sha256(config) as ImageID), label, config, metadata: new Map() };
}

/** A disk's content, made up. */
function contentOf(label: string, images: readonly MadeUpImage[]): DiskContent {
  const made = images.map(({ layers, names }) => ({ image: imageOf(label, layers), names }));
  const layers = made.flatMap(({ image }) =>
    image.chains.map((chain, index): DiskLayer => ({
      chain,
      diffID: image.diffIDs[index] as DiffID,
      parent: image.chains[index - 1],
      size: '1',
      label,
      diffPath: `/disks/${label}/${chain}`,
      tarSplit: undefined,
      registrySources: undefined,
    })),
  );
  return {
    label,
    manifest: undefined,
    manifestDigest: undefined,
    pinned: false,
    images: new Map(made.map(({ image }) => [image.id, image])),
    layers: new Map(layers.map((layer) => [layer.chain, layer])),
    references: new Map(made.flatMap(({ image, names }) => names.map((name) => [name, image.id] as const))),
    findings: [],
  };
}

/** A disk, made up, of the format before blobs. */
export function diskOf(label: string, images: readonly MadeUpImage[], rank = 0): OfferedDisk {
  const content = contentOf(label, images);
  const none = { read: () => undefined, sizeOf: () => undefined, pathOf: (file: string) => file, capacity: () => 0 };
  const { targets, findings } = readImageTargets(content, none);
  return { content, rank, targets, faults: findings };
}

/** A namespace with nothing in it. */
export const nothing: Present = {
  namespace: 'moby',
  images: new Map(),
  snapshots: new Map(),
  content: new Map(),
  staleLeases: [],
};

export const farm = new LinkFarm('/run/farm');

/** A plan for what is not said: an empty namespace, without a ledger. */
export function planOf(input: Partial<NamespacePlanInput> & { readonly disks: readonly OfferedDisk[] }): NamespacePlan {
  return planNamespace({
    present: nothing,
    ledger: emptyNamespaceLedger,
    config: { conflicts: 'user', removedImages: 'restore' },
    farm,
    roots: { snapshots: '/snapshots', content: '/content', sharesContent: true },
    ...input,
  });
}
