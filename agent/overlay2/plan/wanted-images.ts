import type { DiskImage } from '../../disk/read-disk.ts';
import { asImageID, type ImageID } from '../../docker/ids.ts';
import type { Offer } from '../../merge/offer.ts';
import type { Store } from '../store/store.ts';

export interface WantedInput {
  readonly store: Store;
  readonly offer: Offer;
  /** All names as they will be, with their images. */
  readonly names: ReadonlyMap<string, ImageID | undefined>;
  readonly ownImages: ReadonlySet<ImageID>;
}

/**
 * Images of the disks that the store is to have: those that will have a name, those for which no disk has a name and on
 * which nothing was built, and the steps of classic builds that lead to any of these. An image whose tags all went to
 * others, or a step without the image that was built on it, would be listed as <none>.
 */
export function wantedImages({ store, offer, names, ownImages }: WantedInput): ReadonlyMap<ImageID, DiskImage> {
  const parentOf = ({ id, metadata }: DiskImage): ImageID | undefined =>
    store.images.has(id) && !ownImages.has(id) ? store.imageParent(id) : asImageID(metadata.get('parent')?.toString());
  const parents = new Set([...offer.images.values()].map(parentOf));
  const held = new Set(names.values());
  const wanted = new Map<ImageID, DiskImage>();
  for (const image of offer.images.values()) {
    if (!held.has(image.id) && (offer.named.has(image.id) || parents.has(image.id))) continue;
    for (let step: DiskImage | undefined = image; step !== undefined && !wanted.has(step.id);) {
      wanted.set(step.id, step);
      const parent = parentOf(step);
      step = parent === undefined ? undefined : offer.images.get(parent);
    }
  }
  return wanted;
}
