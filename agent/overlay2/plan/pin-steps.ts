import type { DiskImage } from '../../disk/read-disk.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import { pinName } from '../../docker/layer-folders.ts';
import type { Store } from '../store.ts';
import type { Step } from './steps.ts';

export interface PinInput {
  readonly store: Store;
  /** Images that the store is to have; none, where nothing is to be kept through a prune. */
  readonly images: ReadonlyMap<ImageID, DiskImage>;
  /** Layers of ours that are to be there. */
  readonly ownLayers: { has(chain: ChainID): boolean };
  /** Layers that may have a pin of an earlier run. */
  readonly known: Iterable<ChainID>;
  /** Whether what we wrote has reached the disk. */
  readonly synced: boolean;
}

export interface Pins {
  /** Layers that are to have one. */
  readonly pinned: ReadonlySet<ChainID>;
  /** For after the layers' records are there. */
  readonly add: readonly Step[];
  /** For before the layers go: a pin without its layer would hold the same layer of a pull of the user's. */
  readonly remove: readonly Step[];
}

/**
 * A pin for the top layer of each image, which holds all layers below. Where the top layer is the user's there is none:
 * what he removes is to free its space.
 */
export function pinSteps({ store, images, ownLayers, known, synced }: PinInput): Pins {
  const pinned = new Set(
    [...images.values()].flatMap(({ chains }) => chains.at(-1) ?? []).filter((chain) => ownLayers.has(chain)),
  );
  const add = [...pinned].filter((chain) => !store.mounts.hasPin(chain, !synced));
  // The usual case is that nothing but these is there, and nothing has to be looked for.
  const others =
    store.mounts.names.size - (pinned.size - [...pinned].filter((chain) => !store.mounts.hasPin(chain, false)).length);
  const stale =
    others === 0 ? [] : [...new Set(known)].filter((chain) => !pinned.has(chain) && store.mounts.hasPin(chain, false));
  return {
    pinned,
    add: add.map((chain): Step => ({ do: 'pin-layer', chain, name: pinName(chain) })),
    remove: stale.map((chain): Step => ({ do: 'unpin-layer', chain, name: pinName(chain) })),
  };
}
