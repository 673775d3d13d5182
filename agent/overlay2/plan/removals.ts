import { relative } from 'node:path';
import type { Finding } from '../../messages/finding.ts';
import type { DiskImage, DiskLayer } from '../../disk/read-disk.ts';
import { asDiffID, hexOf, isDigest, type ChainID, type DiffID, type ImageID } from '../../docker/ids.ts';
import { isRecord } from '../../text/is-record.ts';
import { emptyLayer, overlayPaths, ownLayerNames } from '../../docker/layer-folders.ts';
import type { Store } from '../store.ts';
import { isDirectory, readTextIfThere } from '../../system/files.ts';
import { listNames, plural } from '../../text/plural.ts';
import type { LayerPlanner } from './layer-steps.ts';
import type { LedgerContent } from '../ledger.ts';
import type { Step } from './steps.ts';

export interface RemovalInput {
  readonly store: Store;
  /** What of ours may be in the store, by the ledger, or by the store where that is lost. */
  readonly known: Pick<LedgerContent, 'images' | 'layers'>;
  readonly wantedImages: ReadonlyMap<ImageID, DiskImage>;
  readonly wantedLayers: ReadonlyMap<ChainID, DiskLayer>;
  /** Changes to repositories.json. */
  readonly changes: ReadonlyMap<string, ImageID | undefined>;
  /** The user's images whose names disks have: they get them back. */
  readonly displaced: ReadonlyMap<string, ImageID>;
  readonly planner: LayerPlanner;
  /** Whether it goes for good, whatever is attached. */
  readonly forget: boolean;
  isOurs(image: ImageID): boolean;
}

export interface Removals {
  readonly steps: readonly Step[];
  /** Stays, although no disk offers it any more, with the label of the disk it came from. */
  readonly keptImages: ReadonlyMap<ImageID, string>;
  readonly keptLayers: ReadonlyMap<ChainID, string>;
  readonly findings: readonly Finding[];
  isEmptyLayerInUse(): boolean;
  /** Of our files in distribution/, those that are for no layer which stays. */
  staleDistribution(paths: readonly string[]): string[];
}

/**
 * What of ours no disk offers any more goes, except what an image or a container of the user's stands on: images with a
 * tag of the user's, layers of any image that stays, of any container, and those that a foreign `lower` names.
 */
export function findRemovals(input: RemovalInput): Removals {
  return new RemovalPlanner(input);
}

class RemovalPlanner implements Removals {
  readonly keptImages = new Map<ImageID, string>();
  readonly keptLayers = new Map<ChainID, string>();
  readonly findings: Finding[] = [];
  readonly steps: Step[] = [];
  readonly #input: RemovalInput;
  readonly #removedImages = new Set<ImageID>();
  /** Names that images will have, the user's with those of ours that stay. */
  readonly #names: ReadonlyMap<ImageID, readonly string[]>;
  readonly #removedLayers: ChainID[] = [];
  readonly #candidates: Map<ChainID, string>;
  /** Layer to those who need it. */
  readonly #needs = new Map<ChainID, Set<string>>();

  constructor(input: RemovalInput) {
    this.#input = input;
    const { known } = input;
    this.#names = namesAfter(input.store, input.changes);
    this.#sortImages(known.images);
    this.#candidates = new Map(
      [...known.layers].filter(([chain]) => !input.wantedLayers.has(chain) && this.#isOurs(chain)),
    );
    if (this.#candidates.size > 0) this.#sortLayers();
    for (const id of this.#removedImages) this.steps.push({ do: 'remove-image', id });
    for (const chain of this.#removedLayers)
      this.steps.push({ do: 'remove-layer', chain, names: ownLayerNames(chain) });
  }

  #isOurs(chain: ChainID): boolean {
    const { store } = this.#input;
    const ownership = store.layers.ownership(chain);
    // A folder of ours without a record is what an interrupted run left.
    return ownership === 'ours' || isDirectory(overlayPaths(store.dataRoot).layer(ownLayerNames(chain).cacheId));
  }

  #sortImages(candidates: ReadonlyMap<ImageID, string>): void {
    const { store, wantedImages, displaced } = this.#input;
    const unwanted = [...candidates].filter(
      ([id]) => !wantedImages.has(id) && store.images.has(id) && this.#input.isOurs(id),
    );
    // The usual case, in which no container has to be read.
    if (unwanted.length === 0) return;
    const containerTops = new Set(store.mounts.containerParents().values());
    const waiting = new Set(displaced.values());
    for (const [id, label] of unwanted) {
      const top = store.imageConfig(id)?.chains.at(-1);
      if (this.#names.has(id) || waiting.has(id) || (top !== undefined && containerTops.has(top)))
        this.keptImages.set(id, label);
      else this.#removedImages.add(id);
    }
    if (this.#removedImages.size > 0) this.#keepParents(candidates);
  }

  /**
   * dockerd removes no image that another was built from (moby, daemon/images/image_delete.go, conflictDependentChild): `docker
   * rmi` of the other goes on to it, and fails where it is not there.
   */
  #keepParents(candidates: ReadonlyMap<ImageID, string>): void {
    const { store } = this.#input;
    for (const id of store.images) {
      if (this.#removedImages.has(id)) continue;
      for (
        let parent = store.imageParent(id);
        parent !== undefined && this.#removedImages.delete(parent);
        parent = store.imageParent(parent)
      ) {
        this.keptImages.set(parent, candidates.get(parent) ?? '');
      }
    }
  }

  #sortLayers(): void {
    this.#collectNeeds();
    const depth = new Map([...this.#candidates.keys()].map((chain) => [chain, this.#ancestors(chain).length] as const));
    for (const chain of [...this.#candidates.keys()].toSorted((a, b) => (depth.get(a) ?? 0) - (depth.get(b) ?? 0))) {
      if (this.#needs.has(chain)) this.#input.planner.rewant([...this.#ancestors(chain).toReversed(), chain]);
    }
    for (const [chain, label] of this.#candidates) {
      if (!this.#needs.has(chain)) this.#removedLayers.push(chain);
      else if (!this.#input.planner.own.has(chain)) this.keptLayers.set(chain, label);
    }
    // A child goes before what it stands on.
    this.#removedLayers.sort((a, b) => (depth.get(b) ?? 0) - (depth.get(a) ?? 0));
    this.#reportKept();
  }

  #collectNeeds(): void {
    const { store, wantedImages, displaced } = this.#input;
    const waiting = new Set(displaced.values());
    for (const id of store.images) {
      if (this.#removedImages.has(id) || wantedImages.has(id)) continue;
      // One of ours that has lost its names stays for a container or for an image built on it, which is named.
      const name =
        this.#names.get(id)?.[0] ??
        (this.keptImages.has(id) && !waiting.has(id) ? undefined : `sha256:${hexOf(id).slice(0, 12)}`);
      for (const chain of store.imageConfig(id)?.chains ?? [])
        this.#needRecord(chain, name === undefined ? undefined : `image ${name}`);
    }
    for (const [container, parent] of store.mounts.containerParents()) {
      const name = `container ${store.mounts.containerName(container) ?? container.slice(0, 12)}`;
      for (const chain of [parent, ...this.#ancestors(parent)]) this.#needRecord(chain, name);
    }
    const byLink = new Map([...this.#candidates.keys()].map((chain) => [ownLayerNames(chain).link, chain] as const));
    for (const [link, cacheId] of this.#foreignLinks()) {
      const chain = byLink.get(link);
      if (chain !== undefined && !this.#needs.has(chain))
        this.#need(chain, isBuildCache(cacheId) ? BUILD_CACHE : `layer folder ${cacheId}`);
    }
    for (const chain of this.#needs.keys()) for (const below of this.#ancestors(chain)) this.#need(below, undefined);
  }

  /** Images and containers stand on a layer's record; where that is the user's, a folder of ours beside it is of no use. */
  #needRecord(chain: ChainID, who: string | undefined): void {
    if (this.#input.store.layers.ownership(chain) !== 'user') this.#need(chain, who);
  }

  #need(chain: ChainID, who: string | undefined): void {
    if (!this.#candidates.has(chain)) return;
    const needs = this.#needs.get(chain) ?? new Set();
    if (who !== undefined) needs.add(who);
    this.#needs.set(chain, needs);
  }

  /** The layers below, nearest first; dockerd allows 125. */
  #ancestors(chain: ChainID): ChainID[] {
    const chains: ChainID[] = [];
    for (
      let below = this.#input.store.layers.parentOf(chain);
      below !== undefined && chains.length < 128;
      below = this.#input.store.layers.parentOf(below)
    )
      chains.push(below);
    return chains;
  }

  #foreignLinks(): ReadonlyMap<string, string> {
    const { store, wantedLayers } = this.#input;
    const ours = new Set(
      [...this.#candidates.keys(), ...wantedLayers.keys()].map((chain) => ownLayerNames(chain).cacheId),
    );
    return store.layers.foreignLinks(ours.add(emptyLayer.cacheId));
  }

  #reportKept(): void {
    const byLabel = new Map<string, { readonly who: Set<string>; layers: number }>();
    for (const [chain, label] of this.keptLayers) {
      const entry = byLabel.get(label) ?? { who: new Set<string>(), layers: 0 };
      entry.layers += 1;
      for (const who of this.#needs.get(chain) ?? []) entry.who.add(who);
      byLabel.set(label, entry);
    }
    for (const [label, { who, layers }] of byLabel) {
      const names = [...who].filter((name) => name !== BUILD_CACHE).toSorted();
      if (who.has(BUILD_CACHE)) names.push(BUILD_CACHE);
      const onlyCache = names.length === 1 && who.has(BUILD_CACHE);
      const text = {
        label: label === '' ? '(unknown)' : label,
        layers,
        stand: `${listNames(names)} ${names.length === 1 ? 'stands' : 'stand'} on`,
        cache: who.has(BUILD_CACHE),
        onlyCache,
      };
      this.findings.push({
        code: onlyCache ? 'BUILD_CACHE' : 'KEPT',
        label,
        message: this.#input.forget ? leftMessage(text) : keptMessage(text),
      });
    }
  }

  isEmptyLayerInUse(): boolean {
    return this.keptLayers.size > 0 || this.#foreignLinks().has(emptyLayer.link);
  }

  staleDistribution(paths: readonly string[]): string[] {
    if (paths.length === 0) return [];
    const { store, planner } = this.#input;
    const stale = new Set(paths);
    const keep = (diffID: DiffID, digests: readonly string[]): void => {
      for (const path of [
        store.paths.metadataByDiffID(diffID),
        ...digests.map((digest) => store.paths.diffIDByDigest(digest)),
      ])
        stale.delete(relative(store.paths.root, path));
    };
    // Not by what layers that go have: after a power cut their records and these files may be empty, and would stay for ever.
    for (const copies of planner.wantedCopies().values())
      for (const { diffID, registrySources } of copies) keep(diffID, digestsIn(registrySources));
    if (stale.size === 0) return [];
    // The user may have pulled such a layer since, or something of his stands on it.
    const gone = new Set(this.#removedLayers);
    for (const chain of store.layers.recorded) {
      const diffID = gone.has(chain) ? undefined : asDiffID(readTextIfThere(`${store.paths.layer(chain)}/diff`));
      if (diffID !== undefined) keep(diffID, digestsIn(readTextIfThere(store.paths.metadataByDiffID(diffID))));
    }
    return [...stale];
  }
}

interface KeptLayers {
  readonly label: string;
  readonly layers: number;
  /** Who stands on them. */
  readonly stand: string;
  readonly cache: boolean;
  readonly onlyCache: boolean;
}

/** Of a disk that is not attached, or is another now. */
function keptMessage({ label, layers, stand, cache, onlyCache }: KeptLayers): string {
  const [it, stay] = layers === 1 ? ['it', 'it stays'] : ['them', 'they stay'];
  const what = `disk ${label} no longer has ${plural(layers, 'layer')} that ${stand}; ${stay} in the store`;
  if (onlyCache) return `${what}; to let go of ${it}, run: docker builder prune -a`;
  return `${what}; for what stands there to work again, attach a disk that has ${it}, or remove and pull it${cache ? '; for the cache, run: docker builder prune -a' : ''}`;
}

/** `unlink` was to take them out. */
function leftMessage({ label, layers, stand, cache, onlyCache }: KeptLayers): string {
  const what = `${plural(layers, 'layer')} of disk ${label} ${layers === 1 ? 'stays' : 'stay'} in the store, since ${stand} ${layers === 1 ? 'it' : 'them'}`;
  const prune = 'run: docker builder prune -a';
  const cure = onlyCache
    ? `start Docker, ${prune}`
    : `start Docker, remove what stands there${cache ? `, for the cache ${prune}` : ''}`;
  return `${what}; to let go of ${layers === 1 ? 'it' : 'them'}, ${cure}; then stop Docker and run: docker-preloader unlink`;
}

const BUILD_CACHE = "Docker's build cache";

/** BuildKit's layers have names of 25 letters and digits (moby/buildkit, identity/randomid.go), all others 64 hex digits. */
function isBuildCache(cacheId: string): boolean {
  return /^[0-9a-z]{25}$/.test(cacheId);
}

function namesAfter(
  store: Store,
  changes: ReadonlyMap<string, ImageID | undefined>,
): ReadonlyMap<ImageID, readonly string[]> {
  const names = new Map<ImageID, string[]>();
  for (const [name, id] of new Map<string, ImageID | undefined>([...store.referenceStore.references, ...changes])) {
    if (id !== undefined) names.set(id, [...(names.get(id) ?? []), name]);
  }
  return names;
}

function digestsIn(text: string | undefined): string[] {
  try {
    const list: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(list)
      ? list.flatMap((entry: unknown) => (isRecord(entry) && isDigest(entry['Digest']) ? [entry['Digest']] : []))
      : [];
  } catch {
    return [];
  }
}
