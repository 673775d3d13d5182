import type { DiskImage } from '../../disk/read-disk.ts';
import type { ChainID } from '../../docker/ids.ts';
import { pinName } from '../../docker/layer-folders.ts';
import type { Store } from '../store/store.ts';
import type { LinkedLayers } from './linked-layers.ts';
import type { Step } from './steps.ts';

/**
 * The layers that are to have a pin: the top layer of each image, which keeps all layers below it. If the top layer is
 * the user's it gets none, so that space is freed when he removes it.
 */
export function pinnedLayers(images: Iterable<DiskImage>, { own }: LinkedLayers): ReadonlySet<ChainID> {
  return new Set([...images].flatMap(({ chains }) => chains.at(-1) ?? []).filter((chain) => own.has(chain)));
}

export interface PinSteps {
  /** To be done when the layers have their records. */
  readonly add: readonly Step[];
  /** To be done before layers are removed. A pin without its layer would keep that layer if the user pulls it later. */
  readonly remove: readonly Step[];
}

export interface PinStepOptions {
  /** Layers that may have a pin of an earlier run. */
  readonly mayBePinned: readonly ChainID[];
  /** Whether everything that we wrote has reached the disk. */
  readonly synced: boolean;
}

/** The steps for pins that are missing in the store, or are too many. @param pinned the layers that are to have one */
export function pinSteps(
  pinned: ReadonlySet<ChainID>,
  { mounts }: Store,
  { mayBePinned, synced }: PinStepOptions,
): PinSteps {
  const add = [...pinned].filter((chain) => !mounts.hasPin(chain, !synced));
  // Usually no other pins are there, and none has to be looked for.
  const others = mounts.names.size - [...pinned].filter((chain) => mounts.hasPin(chain, false)).length;
  const stale =
    others === 0 ? [] : [...new Set(mayBePinned)].filter((chain) => !pinned.has(chain) && mounts.hasPin(chain, false));
  return {
    add: add.map((chain): Step => ({ do: 'pin-layer', chain, name: pinName(chain) })),
    remove: stale.map((chain): Step => ({ do: 'unpin-layer', chain, name: pinName(chain) })),
  };
}
