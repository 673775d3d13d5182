import type { DiskImage, DiskLayer } from '../../disk/read-disk.ts';
import type { ChainID } from '../../docker/ids.ts';
import { recordFiles, TAR_SPLIT } from '../../docker/layer-db.ts';
import { emptyLayer, linkTargetOf, lowerOf, ownLayerNames, type OwnLayerNames } from '../../docker/layer-folders.ts';
import type { Store } from '../store.ts';
import type { NamedLayer, OwnLayer } from '../stored-layers.ts';
import { hasDigest, isCopyOf } from '../apply/copy-tar-split.ts';
import type { Step } from './steps.ts';

/** Finds out, layer by layer and each once, what is missing or different in the store. */
export class LayerPlanner {
  /** Layers of ours that are to be there. */
  readonly own = new Map<ChainID, DiskLayer>();
  /** All layers of wanted images that a disk has. */
  readonly wanted = new Map<ChainID, DiskLayer>();
  readonly sharedWithUser = new Set<ChainID>();
  readonly #store: Store;
  readonly #offer: ReadonlyMap<ChainID, readonly DiskLayer[]>;
  readonly #synced: boolean;
  readonly #named = new Map<ChainID, NamedLayer>();
  readonly #steps: Step[] = [];
  #needsEmptyLayer = false;

  /** @param synced whether what we wrote has reached the disk; while not, contents are compared */
  constructor(store: Store, offer: ReadonlyMap<ChainID, readonly DiskLayer[]>, synced: boolean) {
    this.#store = store;
    this.#offer = offer;
    this.#synced = synced;
  }

  /** Wants all layers of an image, of which the catalogue has said that they can be had. */
  want(image: DiskImage): void {
    let below: NamedLayer | undefined;
    for (const chain of image.chains) below = this.#named.get(chain) ?? this.#wantLayer(chain, below);
  }

  /** Wants a single layer that stays in the store anyway, to link it to a disk that has it. Its parents come first. */
  rewant(chains: readonly ChainID[]): void {
    let below: NamedLayer | undefined;
    for (const chain of chains) {
      const known = this.#named.get(chain);
      below = known ?? (this.#canHave(chain) ? this.#wantLayer(chain, below) : this.#nameLost(chain));
      if (below === undefined) return;
    }
  }

  /** A layer of ours that stays without a disk: those above it may have one, and name it as before. */
  #nameLost(chain: ChainID): NamedLayer | undefined {
    if (this.#store.layers.ownership(chain) !== 'ours') return undefined;
    const { link, lower } = this.#store.layers.own(chain);
    return lower === undefined ? undefined : { link, lower };
  }

  #canHave(chain: ChainID): boolean {
    return this.#store.layers.ownership(chain) === 'user'
      ? this.#store.layers.users(chain) !== undefined
      : this.#offer.has(chain);
  }

  #wantLayer(chain: ChainID, below: NamedLayer | undefined): NamedLayer {
    const ownership = this.#store.layers.ownership(chain);
    const candidates = this.#offer.get(chain) ?? [];
    const user = ownership === 'user' ? this.#store.layers.users(chain) : undefined;
    const [first] = candidates;
    if (first !== undefined) this.wanted.set(chain, first);
    if (user !== undefined) {
      this.sharedWithUser.add(chain);
      this.#named.set(chain, user);
      return user;
    }
    if (first === undefined)
      throw new Error(`layer ${chain}: a disk or a user's layer expected, as the catalogue said, found none`);
    const names = ownLayerNames(chain);
    const present = this.#store.layers.own(chain);
    // A link that holds stays: of two disks with the layer, the one that is there already.
    const layer = candidates.find((candidate) => candidate.diffPath === present.diff) ?? first;
    const lower = below === undefined ? `l/${emptyLayer.link}` : lowerOf(below);
    if (below === undefined) this.#needsEmptyLayer = true;
    this.own.set(chain, layer);
    this.#named.set(chain, { link: names.link, lower });
    this.#compare(layer, names, present, lower);
    return { link: names.link, lower };
  }

  #compare(layer: DiskLayer, names: OwnLayerNames, present: OwnLayer, lower: string): void {
    const { chain, label, diffPath, tarSplit } = layer;
    const whole =
      present.linkFile === names.link &&
      present.lower !== undefined &&
      present.committed &&
      present.linkTarget === linkTargetOf(names.cacheId);
    const linked = whole && present.diff === diffPath && present.lower === lower;
    if (!linked)
      this.#steps.push({
        do: 'link-layer',
        chain,
        names,
        diffPath,
        lower,
        label,
        replaces: whole && present.diff !== undefined,
      });
    const files = new Map([...recordFiles(layer), ['cache-id', names.cacheId] as const]);
    const recorded =
      present.record !== undefined &&
      [...files].every(([name, text]) => present.record?.get(name) === text) &&
      this.#hasTarSplit(layer, present);
    if (!recorded)
      this.#steps.push({ do: 'record-layer', chain, label, files, tarSplit, mend: this.#store.layers.has(chain) });
  }

  #hasTarSplit({ chain, label, tarSplit }: DiskLayer, present: OwnLayer): boolean {
    if (tarSplit === undefined) return true;
    if (present.tarSplitBytes !== tarSplit.sizeBytes) return false;
    const path = `${this.#store.paths.layer(chain)}/${TAR_SPLIT}`;
    // It may be from a time when its disk was not pinned, and what a pinned disk has there now need not be what it should have.
    if (tarSplit.digest !== undefined) return hasDigest(path, tarSplit.digest);
    return this.#synced || isCopyOf(path, { ...tarSplit, label });
  }

  /** Base layers first, for each its folder in overlay2/ and then its record, which makes it known to dockerd. */
  steps(): Step[] {
    return this.#needsEmptyLayer && !this.#store.layers.hasEmptyLayer()
      ? [{ do: 'make-empty-layer' }, ...this.#steps]
      : this.#steps;
  }

  /** Wanted layers with what each disk has of them. */
  wantedCopies(): ReadonlyMap<ChainID, readonly DiskLayer[]> {
    return new Map([...this.wanted.keys()].map((chain) => [chain, this.#offer.get(chain) ?? []]));
  }

  ownLabels(): [ChainID, string][] {
    return [...this.own].map(([chain, layer]) => [chain, layer.label]);
  }
}
