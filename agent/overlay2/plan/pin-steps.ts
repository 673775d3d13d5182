import type { DiskImage } from '../../disk/read-disk.ts';
import type { ChainID } from '../../docker/ids.ts';
import { pinName } from '../../docker/layer-folders.ts';
import type { Store } from '../store/store.ts';
import type { LinkedLayers } from './linked-layers.ts';
import type { Step } from './steps.ts';

/**
 * The layers that are to have a pin: the top one of each image, which holds all below. Where that is the user's there is
 * none: what he removes is to free its space.
 */
export function pinnedLayers(images: Iterable<DiskImage>, { own }: LinkedLayers): ReadonlySet<ChainID> {
  return new Set([...images].flatMap(({ chains }) => chains.at(-1) ?? []).filter((chain) => own.has(chain)));
}

export interface PinSteps {
  /** For after the layers' records are there. */
  readonly add: readonly Step[];
  /** For before the layers go: a pin without its layer would hold the same layer of a pull of the user's. */
  readonly remove: readonly Step[];
}

export interface PinStepOptions {
  /** Layers that may have a pin of an earlier run. */
  readonly mayBePinned: readonly ChainID[];
  /** Whether what we wrote has reached the disk. */
  readonly synced: boolean;
}

/** What is missing or too much of pins in the store. @param pinned the layers that are to have one */
export function pinSteps(
  pinned: ReadonlySet<ChainID>,
  { mounts }: Store,
  { mayBePinned, synced }: PinStepOptions,
): PinSteps {
  const add = [...pinned].filter((chain) => !mounts.hasPin(chain, !synced));
  // The usual case is that nothing but these is there, and nothing has to be looked for.
  const others = mounts.names.size - [...pinned].filter((chain) => mounts.hasPin(chain, false)).length;
  const stale =
    others === 0 ? [] : [...new Set(mayBePinned)].filter((chain) => !pinned.has(chain) && mounts.hasPin(chain, false));
  return {
    add: add.map((chain): Step => ({ do: 'pin-layer', chain, name: pinName(chain) })),
    remove: stale.map((chain): Step => ({ do: 'unpin-layer', chain, name: pinName(chain) })),
  };
}
