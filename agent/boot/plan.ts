import type { Finding } from '../disk/finding.ts';
import type { DiskImage } from '../disk/reader.ts';
import type { ChainID, ImageID } from '../docker/ids.ts';
import { updateReferenceStore } from '../docker/reference-store.ts';
import type { Store } from '../docker/store.ts';
import { catalogue, type Catalogue, type RankedDisk } from './catalogue.ts';
import type { Config } from './config.ts';
import { distributionSteps } from './distribution.ts';
import { imageSteps } from './image-steps.ts';
import { LayerPlanner } from './layer-steps.ts';
import { isSameLedger, type Ledger, type LedgerContent, type LedgerState } from './ledger.ts';
import { mergeReferences } from './references.ts';
import { findRemovals } from './removals.ts';
import type { Step } from './steps.ts';

export interface PlanInput {
  readonly store: Store;
  readonly ledger: LedgerState;
  readonly disks: readonly RankedDisk[];
  readonly config: Pick<Config, 'conflicts' | 'removedImages'>;
  /** Nothing of ours is to be remembered: the program goes. */
  readonly forget?: boolean;
}

export interface Plan {
  /** In the order in which they are to be done; none where the store is as it should be. */
  readonly steps: readonly Step[];
  readonly findings: readonly Finding[];
  readonly catalogue: Catalogue;
  /** What of ours is in the store afterwards. */
  readonly content: LedgerContent;
  /** Of these, layers that stay although no disk has them, with the label of the disk that had. */
  readonly kept: ReadonlyMap<ChainID, string>;
  /** Layers that images of ours use but the user's store has: nothing was linked for them. */
  readonly sharedWithUser: number;
}

/**
 * What is to be done so that the store holds what the disks offer and loses nothing of the user's. Reads the store,
 * changes nothing.
 */
export function plan({ store, ledger: { state, ledger }, disks, config, forget = false }: PlanInput): Plan {
  const offer = catalogue(disks, store);
  const standsOnOurs = (id: ImageID): boolean => {
    const chains = (offer.images.get(id) ?? store.imageConfig(id))?.chains;
    const top = chains?.at(-1);
    // An image without layers can only be told by the ledger.
    return chains !== undefined && (top === undefined ? hasImage(ledger, id) : store.ownership(top) === 'ours');
  };
  const merge = mergeReferences({
    store: store.referenceStore.references,
    ledger,
    disks: offer.references,
    config,
    standsOnOurs,
    hasImage: (id) => store.images.has(id),
  });

  const images = wantedImages(offer, merge.own, store);
  const layers = new LayerPlanner(store, offer.layers, ledger.synced);
  for (const image of images.values()) layers.want(image);
  const imageChanges = imageSteps(store, images, ledger.synced);
  const distribution = distributionSteps(store, layers.wanted, ledger.distribution);

  const known: LedgerContent = state === 'read' ? ledger : layersByStore(store, offer);
  const removals = findRemovals({ store, ledger, known, wantedImages: images, wantedLayers: layers.own, changes: merge.changes, standsOnOurs, planner: layers });

  const content: LedgerContent = {
    references: merge.own,
    images: new Map([...[...images.values()].filter((image) => standsOnOursAfter(image, layers)).map((image) => [image.id, image.label] as const), ...removals.keptImages]),
    layers: new Map([...layers.ownLabels(), ...removals.keptLayers]),
  };
  const stale = removals.staleDistribution([...ledger.distribution]);
  const final: Ledger = {
    ...content,
    synced: false,
    next: undefined,
    removed: forget ? new Map() : merge.removed,
    displaced: merge.displaced,
    distribution: new Set([...ledger.distribution, ...distribution.written].filter((path) => !stale.includes(path))),
  };

  const build: Step[] = [...layers.steps(), ...imageChanges, ...distribution.steps];
  if (merge.changes.size > 0) build.push({ do: 'write-references', text: updateReferenceStore(store.referenceStore, merge.changes), changes: merge.changes });
  build.push(...removals.steps, ...stale.map((path): Step => ({ do: 'remove-distribution', path })));
  if (content.layers.size === 0 && layers.own.size === 0 && store.hasTraceOfEmptyLayer() && !removals.isEmptyLayerInUse()) build.push({ do: 'remove-empty-layer' });

  return { steps: withLedger(build, { state, ledger }, final), findings: [...offer.findings, ...merge.findings, ...removals.findings], catalogue: offer, content, kept: removals.keptLayers, sharedWithUser: layers.sharedWithUser };
}

/** The ledger says what is about to change before anything does, and what is there when all is done. */
function withLedger(build: readonly Step[], { state, ledger }: Pick<LedgerState, 'state' | 'ledger'>, final: Ledger): Step[] {
  if (build.length === 0 && state !== 'invalid') {
    if (isSameLedger({ ...final, synced: ledger.synced }, ledger)) return [];
    if (state === 'none' && isEmpty(final)) return [];
  }
  if (isEmpty(final) && final.removed.size === 0) return [...begin(build, ledger, final), ...build, { do: 'remove-ledger' }];
  return [...begin(build, ledger, final), ...build, { do: 'write-ledger', ledger: final, final: true }];
}

function begin(build: readonly Step[], ledger: Ledger, final: Ledger): Step[] {
  if (build.length === 0) return [];
  const next: LedgerContent = { references: final.references, images: final.images, layers: final.layers };
  // What this run writes to distribution/ is ours, also when it is killed before it can say so at the end.
  const distribution = new Set([...ledger.distribution, ...final.distribution]);
  return [{ do: 'write-ledger', final: false, ledger: { ...ledger, synced: false, next, distribution } }];
}

function isEmpty(content: LedgerContent): boolean {
  return content.references.size === 0 && content.images.size === 0 && content.layers.size === 0;
}

function hasImage(ledger: Ledger, id: ImageID): boolean {
  return ledger.images.has(id) || ledger.next?.images.has(id) === true;
}

/**
 * Images to have in the store: those that have a reference which is ours, or whose reference the user has with the same
 * meaning, and those that no disk has a reference for (what a build left in between). One whose tags all went to others
 * would be listed as <none>.
 */
function wantedImages(offer: Catalogue, own: ReadonlyMap<string, ImageID>, store: Store): Map<ImageID, DiskImage> {
  const named = new Set([...offer.references.values()].map((reference) => reference.image));
  const held = new Set(own.values());
  for (const id of store.referenceStore.references.values()) held.add(id);
  return new Map([...offer.images].filter(([id]) => held.has(id) || !named.has(id)));
}

function standsOnOursAfter(image: DiskImage, layers: LayerPlanner): boolean {
  const top = image.chains.at(-1);
  return top === undefined || layers.own.has(top);
}

/** With the ledger lost, our layers are found by their cache-id; which images were ours cannot be known, so they stay. */
function layersByStore(store: Store, offer: Catalogue): LedgerContent {
  const layers = new Map<ChainID, string>();
  for (const chain of store.layers) {
    if (store.ownership(chain) === 'ours') layers.set(chain, offer.layers.get(chain)?.[0]?.label ?? '');
  }
  return { references: new Map(), images: new Map(), layers };
}
