import type { Config } from '../../config/config.ts';
import type { ImageID } from '../../docker/ids.ts';
import { mergeReferences, type ReferenceMerge } from '../../merge/merge-references.ts';
import type { DiskReference } from '../../merge/offer.ts';
import type { NamespaceOffer, OfferedImage } from '../namespace-offer.ts';
import { furtherNames, isFurtherName } from '../record-names.ts';
import type { KnownNames } from './known-names.ts';

/** What becomes of the names of a namespace. */
export interface NameMerge {
  /** The tags, and the digests that a disk calls its images by. */
  readonly primary: ReferenceMerge;
  /** The further names that go with those of the first kind that are ours. */
  readonly further: ReferenceMerge;
}

/** Merges names by the same rules as in dockerd's own store. */
export function mergeNames(
  namespace: string,
  offer: Pick<NamespaceOffer, 'names'>,
  { now, left, untouched }: KnownNames,
  config: Pick<Config, 'conflicts' | 'removedImages'>,
): NameMerge {
  // A digest that is all that a disk calls its image by is a name as tags are.
  const isFurther = (name: string): boolean =>
    isFurtherName(namespace, name) && !offer.names.has(name) && !left.removed.has(name);
  const part = <Value>(map: ReadonlyMap<string, Value>, further: boolean): Map<string, Value> =>
    new Map([...map].filter(([name]) => isFurther(name) === further));
  const merge = (
    further: boolean,
    disks: ReadonlyMap<string, DiskReference>,
    rules: Pick<Config, 'conflicts' | 'removedImages'>,
  ): ReferenceMerge =>
    mergeReferences({
      store: part(now, further),
      ledger: {
        references: part(left.references, further),
        removed: part(left.removed, further),
        displaced: part(left.displaced, further),
        next: undefined,
      },
      disks,
      config: rules,
      ledgerLost: false,
      untouched,
      images: new Set(now.values()),
    });

  const offered = new Map(
    [...offer.names].map(([name, { image, label }]) => [name, { image: targetId(image), label }] as const),
  );
  const primary = merge(false, offered, config);
  const disks = new Map<string, DiskReference>();
  for (const [name, digest] of primary.own) {
    const { image, label } = offer.names.get(name) ?? {};
    if (image === undefined || label === undefined || targetId(image) !== digest) continue;
    for (const other of furtherNames(namespace, name, image.target, image.image.id))
      if (isFurther(other)) disks.set(other, { image: digest, label });
  }
  return { primary, further: merge(true, disks, { conflicts: 'user', removedImages: 'restore' }) };
}

/** dockerd calls an image by what its record names, where it has its images in containerd. */
function targetId({ target }: OfferedImage): ImageID {
  return target.digest as ImageID;
}
