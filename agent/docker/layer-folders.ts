import { join } from 'node:path';
import { sha256Bytes } from '../system/digest.ts';
import type { ChainID } from './ids.ts';

/**
 * The storage driver's half of a layer, `overlay2/`, as far as we make and read it (moby, daemon/graphdriver/overlay2).
 * A layer of ours has a cache-id and a link that are derived from its ChainID: they stay the same when a disk is built
 * anew, so that what stands on them stays valid, and they tell our layers from the user's without a record.
 */
export interface OwnLayerNames {
  readonly cacheId: string;
  readonly link: string;
}

/** `l/` and 26 characters: how a layer is named in `lower`. */
const LINK_LENGTH = 26;

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * The names of our directory for a layer. The cache-id is 64 hex digits whose first 12 are not all decimal, as
 * stringid.GenerateRandomID sees to; the link 26 characters of base 32, as overlayutils.GenerateID makes them.
 */
export function ownLayerNames(chain: ChainID): OwnLayerNames {
  let names = known.get(chain);
  if (names === undefined) {
    names = namesFrom(seedOf(chain));
    known.set(chain, names);
  }
  return names;
}

/** The cache-id alone, for the many layers of a store that are not ours. */
export function ownCacheId(chain: ChainID): string {
  return known.get(chain)?.cacheId ?? cacheIdFrom(seedOf(chain));
}

/** Each layer of ours is asked for some five times on the way to READY, and two digests cost more than that. */
const known = new Map<ChainID, OwnLayerNames>();

const seedOf = (chain: ChainID): string => `docker-preloader layer ${chain}`;

/**
 * The name of the pin that keeps a layer of ours, as of a container of nobody's: where nothing else stands on the layer any
 * more, as after a prune, dockerd deletes it otherwise. Of the form that dockerd asks of a mount (moby,
 * layer/filestore.go, stringIDRegexp), and derived from the layer, so that a pin is known by what is in it.
 */
export function pinName(chain: ChainID): string {
  return cacheIdFrom(`docker-preloader pin ${chain}`);
}

/**
 * An empty layer of ours that base layers name as their `lower`. Without native overlay diff (kernel redirect_dir=on)
 * dockerd lstats the `diff` of a layer that has no `lower` (NaiveDiffDriver.Diff, Get): a symlink there is "not a
 * directory", and a build on it would record the whole base as changed.
 */
export const emptyLayer: OwnLayerNames = namesFrom('docker-preloader empty layer');

function cacheIdFrom(seed: string): string {
  const hex = sha256Bytes(seed).toString('hex');
  return /^\d{12}/.test(hex) ? `a${hex.slice(1)}` : hex;
}

function namesFrom(seed: string): OwnLayerNames {
  let link = '';
  let bits = 0;
  let value = 0;
  for (const byte of sha256Bytes(`${seed} link`)) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) link += BASE32[(value >>> (bits - 5)) & 31];
    value &= 31;
  }
  return { cacheId: cacheIdFrom(seed), link: link.slice(0, LINK_LENGTH) };
}

/** The content of a layer's `lower`: all layers below, nearest first (overlay.go, getLower). */
export function lowerOf(parent: { readonly link: string; readonly lower: string | undefined }): string {
  return parent.lower === undefined || parent.lower === '' ? `l/${parent.link}` : `l/${parent.link}:${parent.lower}`;
}

/** The links that a `lower` names. */
export function linksIn(lower: string): string[] {
  return lower.split(':').flatMap((entry) => (entry.startsWith('l/') ? [entry.slice(2)] : []));
}

/** What `overlay2/l/<link>` must point to, to the letter (overlay.go, getLowerDirs and isParent). */
export function linkTargetOf(cacheId: string): string {
  return `../${cacheId}/diff`;
}

/** Paths below a data root. */
export function overlayPaths(dataRoot: string): {
  readonly home: string;
  layer(cacheId: string): string;
  link(link: string): string;
} {
  const home = join(dataRoot, 'overlay2');
  return { home, layer: (cacheId) => `${home}/${cacheId}`, link: (link) => `${home}/l/${link}` };
}

/**
 * A cache-id as a path component: dockerd takes any name (BuildKit's have 25 characters), we only what cannot lead
 * anywhere else.
 */
export function isCacheId(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(text);
}
