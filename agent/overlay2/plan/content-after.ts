import type { DiskImage } from '../../disk/read-disk.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { ReferenceMerge } from '../../merge/merge-references.ts';
import type { LedgerContent } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import type { LeavingImages } from './leaving-images.ts';
import type { NeededLayer } from './leaving-layers.ts';
import type { LinkedLayers } from './linked-layers.ts';
import type { Whose } from './whose.ts';

export interface ContentInput {
  readonly store: Store;
  readonly whose: Whose;
  readonly merge: ReferenceMerge;
  readonly wanted: ReadonlyMap<ImageID, DiskImage>;
  readonly images: LeavingImages;
  readonly linked: LinkedLayers;
  readonly kept: ReadonlyMap<ChainID, NeededLayer>;
}

/** What of ours will be in the store. An image that the user already has stays his. */
export function contentAfter({ store, whose, merge, wanted, images, linked, kept }: ContentInput): LedgerContent {
  const own = [...wanted.values()].filter(({ id }) => !store.images.has(id) || whose.ownImages.has(id));
  return {
    references: merge.own,
    images: new Map([...own.map(({ id, label }) => [id, label] as const), ...images.kept]),
    layers: new Map([
      ...[...linked.own].map(([chain, { source }]) => [chain, source.label] as const),
      ...[...kept].map(([chain, { label }]) => [chain, label] as const),
    ]),
  };
}
