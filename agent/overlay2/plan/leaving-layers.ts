import type { DiskImage } from '../../disk/read-disk.ts';
import { hexOf, type ChainID, type ImageID } from '../../docker/ids.ts';
import { emptyLayer, ownLayerNames } from '../../docker/layer-folders.ts';
import type { Store } from '../store/store.ts';
import type { LeavingImages } from './leaving-images.ts';
import type { LinkedLayers } from './linked-layers.ts';
import type { Whose } from './whose.ts';

/** A layer that something of the user's stands on. */
export interface NeededLayer {
  /** The label of the disk that it came from. */
  readonly label: string;
  /**
   * What stands on it, in words. Empty if it is only below a needed one, or is for an image of ours that a container
   * keeps.
   */
  readonly who: ReadonlySet<string>;
}

/** Layers of ours that no image of the disks stands on. */
export interface LeavingLayers {
  readonly needed: ReadonlyMap<ChainID, NeededLayer>;
  /** Each needed layer at the end of all that it stands on, base first. The shortest stacks come first. */
  readonly stacks: readonly (readonly ChainID[])[];
  /** The layers that are not needed, each before what it stands on. */
  readonly removed: readonly ChainID[];
}

export interface LeavingLayersInput {
  readonly store: Store;
  readonly whose: Whose;
  /** The layers that images of the disks stand on. */
  readonly layers: LinkedLayers;
  readonly wanted: ReadonlyMap<ImageID, DiskImage>;
  readonly images: LeavingImages;
  /** The names that each image will have. */
  readonly names: ReadonlyMap<ImageID, readonly string[]>;
  /** The user's images that wait for names that disks have. */
  readonly waiting: ReadonlySet<ImageID>;
}

/**
 * Which of our layers that no image of the disks stands on are needed: by an image that stays, by a container, or by a
 * `lower` of the user's that names them. What a needed layer stands on is needed, too.
 */
export function leavingLayers(input: LeavingLayersInput): LeavingLayers {
  const { store, whose, layers } = input;
  const candidates = new Map(
    [...whose.known.layers].filter(([chain]) => whose.ownLayers.has(chain) && !layers.own.has(chain)),
  );
  if (candidates.size === 0) return { needed: new Map(), stacks: [], removed: [] };
  const below = new Map([...candidates.keys()].map((chain) => [chain, layersBelow(chain, store)] as const));
  const belowOf = (chain: ChainID): readonly ChainID[] => below.get(chain) ?? [];
  const users = usersOf(candidates, input);
  const isNeeded = new Set([...users.keys()].flatMap((chain) => [chain, ...belowOf(chain)]));
  const needed = new Map(
    [...candidates]
      .filter(([chain]) => isNeeded.has(chain))
      .map(([chain, label]) => [chain, { label, who: users.get(chain) ?? new Set<string>() }] as const),
  );
  return {
    needed,
    stacks: [...needed.keys()]
      .map((chain) => [chain, ...belowOf(chain)].toReversed())
      .toSorted((a, b) => a.length - b.length),
    removed: [...candidates.keys()]
      .filter((chain) => !needed.has(chain))
      .toSorted((a, b) => belowOf(b).length - belowOf(a).length),
  };
}

/** The candidates on which something stands directly, with what that is. */
function usersOf(
  candidates: ReadonlyMap<ChainID, unknown>,
  input: LeavingLayersInput,
): ReadonlyMap<ChainID, ReadonlySet<string>> {
  const { store, layers } = input;
  const users = new Map<ChainID, Set<string>>();
  const note = (chain: ChainID, who: string | undefined): void => {
    const known = users.get(chain) ?? new Set();
    if (who !== undefined) known.add(who);
    users.set(chain, known);
  };
  // Images and containers stand on a layer's record. If the record is the user's, they do not need our folder beside
  // it.
  for (const [chain, who] of [...onImages(input), ...onContainers(store)])
    if (candidates.has(chain) && store.layers.ownership(chain) !== 'user') note(chain, who);
  const byLink = new Map([...candidates.keys()].map((chain) => [ownLayerNames(chain).link, chain] as const));
  for (const [link, folder] of foreignLinks(store, [...candidates.keys(), ...layers.own.keys()])) {
    const chain = byLink.get(link);
    if (chain !== undefined && !users.has(chain))
      note(chain, isBuildCache(folder) ? BUILD_CACHE : `layer folder ${folder}`);
  }
  return users;
}

type Use = readonly [chain: ChainID, who: string | undefined];

function onImages({ store, wanted, images, names, waiting }: LeavingLayersInput): Use[] {
  return [...store.images]
    .filter((id) => !images.removed.has(id) && !wanted.has(id))
    .flatMap((id) => {
      // An image of ours without names stays for a container, or for an image that was built on it. Those are told
      // instead.
      const isNamedByOthers = images.kept.has(id) && !waiting.has(id);
      const name = names.get(id)?.[0] ?? (isNamedByOthers ? undefined : `sha256:${hexOf(id).slice(0, 12)}`);
      const who = name === undefined ? undefined : `image ${name}`;
      return (store.imageConfig(id)?.chains ?? []).map((chain): Use => [chain, who]);
    });
}

function onContainers(store: Store): Use[] {
  return [...store.mounts.containerParents()].flatMap(([container, top]) => {
    const who = `container ${store.mounts.containerName(container) ?? container.slice(0, 12)}`;
    return [top, ...layersBelow(top, store)].map((chain): Use => [chain, who]);
  });
}

/** The links that folders other than these layers of ours and our empty one name, each with the folder. */
export function foreignLinks(store: Store, ours: readonly ChainID[]): ReadonlyMap<string, string> {
  return store.layers.foreignLinks(new Set([...ours.map((chain) => ownLayerNames(chain).cacheId), emptyLayer.cacheId]));
}

/** The layers below one, by the store's records, nearest first. dockerd allows 125. */
function layersBelow(chain: ChainID, store: Store): ChainID[] {
  const chains: ChainID[] = [];
  for (
    let below = store.layers.parentOf(chain);
    below !== undefined && chains.length < 128;
    below = store.layers.parentOf(below)
  )
    chains.push(below);
  return chains;
}

export const BUILD_CACHE = "Docker's build cache";

/**
 * BuildKit's layers have names of 25 letters and digits (moby/buildkit, identity/randomid.go), all others 64 hex
 * digits.
 */
function isBuildCache(cacheId: string): boolean {
  return /^[0-9a-z]{25}$/.test(cacheId);
}
