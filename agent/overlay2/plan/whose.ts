import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { Offer } from '../../merge/offer.ts';
import { mayBeThere, type Ledger, type LedgerContent, type LedgerState } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import { restoredNow } from './restored.ts';

/** What in a store is whose. What the user has touched since we put it there is his. */
export interface Whose {
  /** What of ours may be there, with the labels of its disks: by the ledger, or by the store if the ledger is lost. */
  readonly known: Pick<LedgerContent, 'images' | 'layers'>;
  /** Images that only we have put there. They go when no disk has them any more. */
  readonly ownImages: ReadonlySet<ImageID>;
  /**
   * Images whose names are still ours where they are as we left them: our own, and those that the user has not loaded
   * since.
   */
  readonly untouchedImages: ReadonlySet<ImageID>;
  /** Known layers of which something of ours is left, be it only a folder without a record. It may be removed. */
  readonly ownLayers: ReadonlySet<ChainID>;
  /** Layers that may have a pin of an earlier run. */
  readonly mayBePinned: readonly ChainID[];
  /** Images that we have had dockerd load after a prune, with the times of their configurations. */
  readonly restored: ReadonlyMap<ImageID, number>;
}

export interface WhoseInput {
  readonly store: Store;
  readonly state: LedgerState['state'];
  /** The ledger with its references settled. */
  readonly ledger: Ledger;
  readonly offer: Offer;
}

/** Tells what is whose, of all that the disks offer and that we may have left. */
export function whoseIs(input: WhoseInput): Whose {
  const { store, state, ledger, offer } = input;
  const noted = mayBeThere(ledger);
  const known = state === 'read' ? noted : contentByStore(store, offer);
  const restored = restoredNow(store, ledger);
  const isOwn = (id: ImageID): boolean => {
    if (store.isOwnImage(id) || restored.has(id)) return true;
    const top = (offer.images.get(id) ?? store.imageConfig(id))?.chains.at(-1);
    // A whole configuration without our mark was written by dockerd. If there is none, only the ledger and the layers
    // can tell.
    return (
      (noted.images.has(id) || (top !== undefined && store.layers.ownership(top) === 'ours')) &&
      !store.hasWholeImage(id)
    );
  };
  const there = [...offer.images.keys(), ...known.images.keys()].filter((id) => store.images.has(id));
  const ownImages = new Set([...new Set([...there, ...namedByUs(input)])].filter(isOwn));
  const lent = [...ledger.lent].filter(([id, time]) => store.imageTime(id) === time).map(([id]) => id);
  return {
    known,
    ownImages,
    untouchedImages: new Set([...ownImages, ...lent]),
    ownLayers: new Set(
      [...known.layers.keys()].filter(
        (chain) => store.layers.ownership(chain) === 'ours' || store.layers.hasOwnFolder(chain),
      ),
    ),
    mayBePinned: state === 'read' ? [...known.layers.keys()] : store.mounts.pinnedLayers(),
    restored,
  };
}

/**
 * Images under names that may be ours: those that are as we left them, or those that a disk has if the ledger is lost.
 */
function namedByUs({ store, state, ledger, offer }: WhoseInput): ImageID[] {
  const { references } = store.referenceStore;
  const names = state === 'read' ? ledger.references.keys() : offer.references.keys();
  return [...names].flatMap((name) => {
    const now = references.get(name);
    return now === undefined || (state === 'read' && now !== ledger.references.get(name)) ? [] : [now];
  });
}

/**
 * What of ours is there if the ledger is lost: our layers are found by their cache-id, and our images by their mark.
 * Which names were ours cannot be known, so they stay.
 */
function contentByStore(store: Store, offer: Offer): Whose['known'] {
  const layers = new Map(
    store.layers
      .inOurFolders()
      .filter((chain) => store.layers.ownership(chain) === 'ours')
      .map(
        (chain) =>
          [chain, offer.layers.get(chain)?.[0]?.label ?? labelInLink(store.layers.own(chain).diff) ?? ''] as const,
      ),
  );
  const images = new Map(
    [...store.images]
      .filter((id) => store.isOwnImage(id))
      .map((id) => [id, labelOfImage(id, store, offer, layers)] as const),
  );
  return { images, layers };
}

function labelOfImage(id: ImageID, store: Store, offer: Offer, layers: ReadonlyMap<ChainID, string>): string {
  const top = store.imageConfig(id)?.chains.at(-1);
  return offer.images.get(id)?.label ?? (top === undefined ? undefined : layers.get(top)) ?? '';
}

/**
 * The label of the disk to which a layer of ours was linked. It is the name of the folder on which the disk is mounted.
 */
function labelInLink(diff: string | undefined): string | undefined {
  return /\/([^/]+)\/overlay2\/[^/]+\/diff$/.exec(diff ?? '')?.[1];
}
