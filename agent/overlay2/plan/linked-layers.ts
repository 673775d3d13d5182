import type { DiskImage, DiskLayer } from '../../disk/read-disk.ts';
import type { ChainID } from '../../docker/ids.ts';
import { emptyLayer, lowerOf } from '../../docker/layer-folders.ts';
import type { Offer } from '../../merge/offer.ts';
import type { Store } from '../store/store.ts';
import type { NamedLayer, OwnLayer } from '../store/stored-layers.ts';

/** A layer of ours that is to be in the store. */
export interface LinkedLayer {
  /** The layer on the disk to which it is linked. */
  readonly source: DiskLayer;
  /** What its `lower` is to contain. */
  readonly lower: string;
  /** What of it is in the store now. */
  readonly present: OwnLayer;
}

/** Layers that images stand on: where each comes from, and how the layers above name it. */
export interface LinkedLayers {
  /** Our layers, each after what it stands on. */
  readonly own: ReadonlyMap<ChainID, LinkedLayer>;
  /** Layers that a disk has, even if the user's own is used. */
  readonly offered: ReadonlySet<ChainID>;
  readonly sharedWithUser: ReadonlySet<ChainID>;
  readonly names: ReadonlyMap<ChainID, NamedLayer>;
}

/** The `lower` of a base layer of ours. */
export const baseLower = `l/${emptyLayer.link}`;

const none: LinkedLayers = { own: new Map(), offered: new Set(), sharedWithUser: new Set(), names: new Map() };

/** Links all layers of images. The offer has already made sure that each layer is on a disk or is the user's. */
export function linkLayers(images: Iterable<DiskImage>, offer: Offer, store: Store): LinkedLayers {
  const links = copyOf(none);
  for (const { chains } of images) {
    let below: NamedLayer | undefined;
    for (const chain of chains) below = links.names.get(chain) ?? linkLayer(links, { chain, below }, offer, store);
  }
  return links;
}

/**
 * Adds single layers that stay in the store in any case, each linked to a disk that has it.
 * @param stacks for each such layer: all that it stands on, base first, and the layer itself at the end
 */
export function relinkLayers(
  layers: LinkedLayers,
  stacks: readonly (readonly ChainID[])[],
  offer: Offer,
  store: Store,
): LinkedLayers {
  if (stacks.length === 0) return layers;
  const links = copyOf(layers);
  for (const stack of stacks) {
    let below: NamedLayer | undefined;
    for (const chain of stack) {
      below =
        links.names.get(chain) ??
        (canBeHad(chain, offer, store) ? linkLayer(links, { chain, below }, offer, store) : nameOfLost(chain, store));
      if (below === undefined) break;
    }
  }
  return links;
}

interface Links extends LinkedLayers {
  readonly own: Map<ChainID, LinkedLayer>;
  readonly offered: Set<ChainID>;
  readonly sharedWithUser: Set<ChainID>;
  readonly names: Map<ChainID, NamedLayer>;
}

function copyOf({ own, offered, sharedWithUser, names }: LinkedLayers): Links {
  return {
    own: new Map(own),
    offered: new Set(offered),
    sharedWithUser: new Set(sharedWithUser),
    names: new Map(names),
  };
}

/** Adds a layer. @returns how the layer above names it */
function linkLayer(
  links: Links,
  { chain, below }: { readonly chain: ChainID; readonly below: NamedLayer | undefined },
  offer: Offer,
  store: Store,
): NamedLayer {
  const copies = offer.layers.get(chain) ?? [];
  const [first] = copies;
  if (first !== undefined) links.offered.add(chain);
  const users = store.layers.ownership(chain) === 'user' ? store.layers.users(chain) : undefined;
  if (users !== undefined) {
    links.sharedWithUser.add(chain);
    links.names.set(chain, users);
    return users;
  }
  if (first === undefined)
    throw new Error(`layer ${chain}: expected a disk or the user to have it, as the offer says, found nobody`);
  const present = store.layers.own(chain);
  const lower = below === undefined ? baseLower : lowerOf(below);
  // If two disks have the layer, a link that is right for one of them stays.
  const source = copies.find(({ diffPath }) => diffPath === present.diff) ?? first;
  const name = { link: present.link, lower };
  links.own.set(chain, { source, lower, present });
  links.names.set(chain, name);
  return name;
}

function canBeHad(chain: ChainID, offer: Offer, store: Store): boolean {
  return store.layers.ownership(chain) === 'user' ? store.layers.users(chain) !== undefined : offer.layers.has(chain);
}

/** How a layer of ours is named that stays without a disk. Layers above it may have a disk, and name it as before. */
function nameOfLost(chain: ChainID, store: Store): NamedLayer | undefined {
  if (store.layers.ownership(chain) !== 'ours') return undefined;
  const { link, lower } = store.layers.own(chain);
  return lower === undefined ? undefined : { link, lower };
}
