import type { ImageID } from '../../docker/ids.ts';
import type { Finding } from '../../messages/finding.ts';
import { plural } from '../../text/plural.ts';
import { blobsOf, type OfferedImage } from '../namespace-offer.ts';
import type { ContainerdRoots } from '../namespace-present.ts';
import { oneLine } from '../../text/one-line.ts';
import type { RefusedBlobs } from './namespace-steps.ts';

/** This many are told. */
const MAX_FINDINGS = 50;

/** Findings for the disks whose images Docker gets without the bytes of their layers. */
export function unlinkedFindings(
  images: Iterable<OfferedImage>,
  { sharesContent }: Pick<ContainerdRoots, 'sharesContent'>,
): Finding[] {
  // An image that has a manifest of its own under each of two tags counts once.
  const byLabel = new Map<string, Set<ImageID>>();
  for (const { disk, image, parts } of images) {
    const isWhole = parts.layers.length === 0 || (sharesContent && blobsOf(parts).length > 0);
    if (!isWhole) byLabel.set(disk, (byLabel.get(disk) ?? new Set()).add(image.id));
  }
  const why = sharesContent
    ? 'the disk has none'
    : "this containerd has `content_sharing_policy` 'isolated', so that none can be linked";
  return [...byLabel].map(([label, ids]) => ({
    code: 'LAYERS_UNLINKED',
    label,
    message: `disk ${label}: ${plural(ids.size, 'image')} without layers as a registry has them: ${why}; they run, but docker save is incomplete, push and builds by BuildKit fail, and Docker 26 does not list them`,
  }));
}

/** Findings for the blobs that containerd refused and that an image needs. */
export function refusedFindings(images: Iterable<OfferedImage>, refused: RefusedBlobs): Finding[] {
  const told = new Map<string, Finding>();
  for (const { disk, parts } of refused.size === 0 ? [] : images)
    for (const { digest, path } of blobsOf(parts)) {
      const why = refused.get(digest);
      if (why === undefined || told.size >= MAX_FINDINGS) continue;
      const message = `disk ${disk}: a layer's blob is left out: ${path}: containerd has refused it: ${oneLine(why)}`;
      told.set(digest, { code: 'LAYER_INVALID', label: disk, message });
    }
  return [...told.values()];
}
