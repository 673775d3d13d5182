import type { Finding } from '../messages/finding.ts';
import { plural } from '../text/plural.ts';
import { blobsOf, type OfferedImage } from './offer.ts';
import type { ContainerdRoots } from './present.ts';

/** Names the disks whose images Docker gets without the bytes of their layers. */
export function unlinkedFindings(
  images: Iterable<OfferedImage>,
  { sharesContent }: Pick<ContainerdRoots, 'sharesContent'>,
): Finding[] {
  const byLabel = new Map<string, number>();
  for (const { image, parts } of images) {
    const isWhole = parts.layers.length === 0 || (sharesContent && blobsOf(parts).length > 0);
    if (!isWhole) byLabel.set(image.label, (byLabel.get(image.label) ?? 0) + 1);
  }
  const why = sharesContent
    ? 'the disk has none'
    : "this containerd has `content_sharing_policy` 'isolated', so that none can be linked";
  return [...byLabel].map(([label, count]) => ({
    code: 'LAYERS_UNLINKED',
    label,
    message: `disk ${label}: ${plural(count, 'image')} without layers as a registry has them: ${why}; they run, but docker save is incomplete, push and builds by BuildKit fail, and Docker 26 does not list them`,
  }));
}
