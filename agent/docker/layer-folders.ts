import { join } from 'node:path';
import { sha256Bytes } from '../system/digest.ts';
import type { ChainID } from './ids.ts';

/**
 * The half of a layer that the storage driver keeps in `overlay2/`, as far as we make and read it (moby,
 * daemon/graphdriver/overlay2). The cache-id and the link of our layers are derived from the ChainID. So they stay the
 * same when a disk is built again, what stands on them stays valid, and our layers can be told from the user's without
 * a record.
 */
export interface OwnLayerNames {
  readonly cacheId: string;
  readonly link: string;
}

/** The length of `l/` and 26 characters, which is how a layer is named in `lower`. */
const LINK_LENGTH = 26;

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * The names of our folder for a layer. The cache-id has 64 hex digits, of which the first 12 are not all decimal, as
 * stringid.GenerateRandomID sees to. The link has 26 characters of base 32, as overlayutils.GenerateID makes them.
 */
export function ownLayerNames(chain: ChainID): OwnLayerNames {
  let names = known.get(chain);
  if (names === undefined) {
    names = namesFrom(seedOf(chain));
    known.set(chain, names);
  }
  return names;
}

/** The cache-id alone, which is enough for the many layers of a store that are not ours. */
export function ownCacheId(chain: ChainID): string {
  return known.get(chain)?.cacheId ?? cacheIdFrom(seedOf(chain));
}

/** The names of each layer are needed some five times on the way to READY, and take two digests to compute. */
const known = new Map<ChainID, OwnLayerNames>();

const seedOf = (chain: ChainID): string => `docker-preloader layer ${chain}`;

/**
 * The name of the pin that makes dockerd keep a layer of ours. To dockerd, it is like a container that nobody has.
 * Without it, dockerd deletes the layer when nothing else stands on it, as after a prune. The name has the form that
 * dockerd wants for a mount (moby, layer/filestore.go, stringIDRegexp). It is derived from the layer, so that a pin is
 * known by its content.
 */
export function pinName(chain: ChainID): string {
  return cacheIdFrom(`docker-preloader pin ${chain}`);
}

/**
 * An empty layer of ours that base layers name as their `lower`. Without native overlay diff (kernel redirect_dir=on),
 * dockerd calls lstat on the `diff` of a layer that has no `lower` (NaiveDiffDriver.Diff, Get). A symlink there is "not
 * a directory", and a build on it would record the whole base as changed.
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

/** What `overlay2/l/<link>` must contain, to the letter (overlay.go, getLowerDirs and isParent). */
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
 * Whether a text can be a cache-id. dockerd takes any name (BuildKit's have 25 characters). We take only what, as a
 * part of a path, cannot lead anywhere else.
 */
export function isCacheId(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(text);
}
