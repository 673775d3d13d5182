import { isDigest, type ChainID } from '../../docker/ids.ts';
import type { Finding } from '../../messages/finding.ts';
import { listNames, plural } from '../../text/plural.ts';
import { isFurtherName } from '../record-names.ts';
import { targetOf } from '../own-records.ts';
import { DISK } from '../own-labels.ts';
import { layersFrom, LEASE_PREFIX, topLayerIn, type Present } from '../namespace-present.ts';
import type { ImageRecord } from '../api/services.ts';

/** What of the user's stands on which snapshot. */
export interface Standing {
  /** Containers, by the uppermost layer of their image. */
  readonly containers: ReadonlyMap<string, readonly string[]>;
  /** What stands on a snapshot, in words, by that snapshot: everything that is not ours, except images. */
  readonly others: ReadonlyMap<string, readonly string[]>;
  /** Layers of the user's on a snapshot, by that snapshot. */
  readonly layers: ReadonlyMap<string, readonly string[]>;
}

const BUILD_CACHE = "Docker's build cache";

/** Finds the snapshots of the user's that stand on others. */
export function findStanding(present: Present): Standing {
  const containers = new Map<string, string[]>();
  const others = new Map<string, string[]>();
  const layers = new Map<string, string[]>();
  const add = (to: Map<string, string[]>, parent: string, name: string): void => {
    const list = to.get(parent);
    if (list === undefined) to.set(parent, [name]);
    else list.push(name);
  };
  for (const [name, { parent, own, isCommitted }] of present.snapshots) {
    // What a killed run has begun and not ended counts as nobody's.
    if (own !== undefined || parent === '' || name.startsWith(LEASE_PREFIX)) continue;
    const layer = layerIn(name);
    if (layer !== undefined) add(layers, parent, layer);
    else if (isBuildCache(name)) add(others, parent, BUILD_CACHE);
    else if (!isCommitted) {
      add(others, parent, `container ${name.slice(0, 12)}`);
      const top = layersFrom(present, parent).find(isDigest);
      if (top !== undefined) add(containers, top, name);
    }
    // What is left is committed: dockerd has such a snapshot below each container's own.
  }
  return { containers, others, layers };
}

/**
 * The layer of an image whose snapshot this is. It is named by its ChainID. While it is unpacked, another name stands
 * before that.
 */
function layerIn(name: string): string | undefined {
  return /^(?:extract-\S+ )?(sha256:[0-9a-f]{64})$/.exec(name)?.[1];
}

/** BuildKit's snapshots have names of 25 letters and digits (moby/buildkit, identity/randomid.go). */
function isBuildCache(name: string): boolean {
  return /^[0-9a-z]{25}(-.*)?$/.test(name);
}

/** Layers of ours that no disk offers any more. */
export function lostLayers({ snapshots }: Present, offered: ReadonlyMap<ChainID, string>): ReadonlySet<string> {
  return new Set(
    [...snapshots].flatMap(([chain, { own }]) => (own !== undefined && !offered.has(chain as ChainID) ? [chain] : [])),
  );
}

interface StandingInput {
  readonly present: Present;
  readonly standing: Standing;
  readonly lostLayers: ReadonlySet<string>;
  /** Records that stay. */
  readonly remaining: readonly ImageRecord[];
  readonly kept: ReadonlyMap<string, ImageRecord>;
  /** Whether nothing is about to change, so that whatever is there is held by something. */
  readonly isSettled: boolean;
  readonly forget: boolean;
}

/** Findings for layers of ours that stay without a disk, with what stands on them. */
export function standingFindings(input: StandingInput): Finding[] {
  const { present, standing, remaining, isSettled, forget } = input;
  const lost = new Map([...input.lostLayers].map((chain) => [chain, new Set<string>()] as const));
  if (lost.size === 0) return [];
  const stand = (top: string, name: string): void => {
    for (const chain of layersFrom(present, top)) lost.get(chain)?.add(name);
  };
  for (const [parent, names] of standing.others) for (const name of names) stand(parent, name);
  const tagged = new Set(remaining.filter(({ name }) => !isFurtherName(present.namespace, name)).map(targetOf));
  const inImages = new Set<string>();
  for (const record of remaining) {
    const top = topLayerIn(present, record);
    if (top === undefined || input.kept.has(record.name)) continue;
    for (const chain of layersFrom(present, top)) inImages.add(chain);
    if (!isFurtherName(present.namespace, record.name) || !tagged.has(targetOf(record)))
      stand(top, `image ${record.name}`);
  }
  for (const [parent, layers] of standing.layers)
    for (const layer of layers) if (!inImages.has(layer)) stand(parent, `an image with layer ${layer.slice(0, 19)}`);

  const byLabel = new Map<string, { readonly who: Set<string>; layers: number }>();
  for (const [chain, names] of lost) {
    if (names.size === 0 && !isSettled) continue;
    const label = present.snapshots.get(chain)?.labels.get(DISK) ?? '';
    const entry = byLabel.get(label) ?? { who: new Set<string>(), layers: 0 };
    entry.layers += 1;
    for (const name of names.size === 0 ? ['a lease of another program'] : names) entry.who.add(name);
    byLabel.set(label, entry);
  }
  return [...byLabel].map(([label, entry]) => keptFinding(present.namespace, label, entry, forget));
}

function keptFinding(
  namespace: string,
  label: string,
  { who: names, layers }: { readonly who: ReadonlySet<string>; readonly layers: number },
  forget: boolean,
): Finding {
  const onlyCache = names.size === 1 && names.has(BUILD_CACHE);
  const stand = `${listNames([...names].toSorted())} ${names.size === 1 ? 'stands' : 'stand'} on`;
  const where = `namespace ${namespace} of containerd`;
  const it = layers === 1 ? 'it' : 'them';
  const letGo = onlyCache ? 'run: docker builder prune -a' : 'remove what stands there';
  const message = forget
    ? `${plural(layers, 'layer')} of disk ${label} ${layers === 1 ? 'stays' : 'stay'} in ${where}, since ${stand} ${it}; to let go of ${it}, ${letGo}`
    : `disk ${label} no longer has ${plural(layers, 'layer')} that ${stand}; ${layers === 1 ? 'it stays' : 'they stay'} in ${where}; ` +
      (onlyCache
        ? `to let go of ${it}, ${letGo}`
        : `for what stands there to work again, attach a disk that has ${it}, or ${letGo}`);
  return { code: onlyCache ? 'BUILD_CACHE' : 'KEPT', label, message };
}
