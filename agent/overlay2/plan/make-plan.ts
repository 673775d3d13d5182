import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding } from '../../messages/finding.ts';
import type { DiskImage } from '../../disk/read-disk.ts';
import { asImageID, type ChainID, type ImageID } from '../../docker/ids.ts';
import { updateReferenceStore } from '../../docker/reference-store.ts';
import type { Store } from '../store.ts';
import { catalogue, type Catalogue, type RankedDisk } from './offer.ts';
import type { Config } from '../../config/config.ts';
import { distributionSteps } from './distribution-steps.ts';
import { imageSteps } from './image-steps.ts';
import { LayerPlanner } from './layer-steps.ts';
import {
  isSameLedger,
  mayBeThere,
  settleReferences,
  type Ledger,
  type LedgerContent,
  type LedgerState,
} from '../ledger.ts';
import { pinSteps } from './pin-steps.ts';
import { mergeReferences } from './merge-references.ts';
import { findRemovals } from './removals.ts';
import { isRestored, restoredNow } from './restored.ts';
import type { Step } from './steps.ts';

export interface PlanInput {
  readonly store: Store;
  readonly ledger: LedgerState;
  readonly disks: readonly RankedDisk[];
  readonly config: Pick<Config, 'conflicts' | 'removedImages' | 'prunedImages'>;
  /** Nothing of ours is to be remembered: the program goes. */
  readonly forget?: boolean;
  /** Images of the disks that there is no room for, with what is to be said of each. */
  readonly beyond?: ReadonlyMap<ImageID, Finding>;
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
  readonly sharedWithUser: ReadonlySet<ChainID>;
  /** Layers that a pin keeps through a prune. */
  readonly pinned: ReadonlySet<ChainID>;
  /** Images of the disks that the store is to have. The others are not whole, or all their names are another's. */
  readonly wanted: ReadonlyMap<ImageID, DiskImage>;
}

/**
 * What is to be done so that the store holds what the disks offer and loses nothing of the user's. Reads the store,
 * changes nothing.
 */
export function plan({
  store,
  ledger: { state, ledger: written },
  disks,
  config,
  forget = false,
  beyond = new Map(),
}: PlanInput): Plan {
  const ledger = settleReferences(written, store.referenceStore.references);
  const noted = mayBeThere(ledger);
  const offer = catalogue(disks, store, beyond);
  const isOurs = (id: ImageID): boolean => {
    if (store.isOwnImage(id) || isRestored(id, store, ledger)) return true;
    const top = (offer.images.get(id) ?? store.imageConfig(id))?.chains.at(-1);
    // What is whole without our mark, dockerd has written; without its file only the ledger and the layers can tell.
    return (
      (noted.images.has(id) || (top !== undefined && store.layers.ownership(top) === 'ours')) &&
      !store.hasWholeImage(id)
    );
  };
  const merge = mergeReferences({
    store: store.referenceStore.references,
    ledger,
    disks: offer.references,
    config,
    ledgerLost: state !== 'read',
    isUntouched: (id) => isOurs(id) || (ledger.lent.has(id) && ledger.lent.get(id) === store.imageTime(id)),
    hasImage: (id) => store.images.has(id),
  });

  const images = wantedImages(offer, merge.changes, store, isOurs);
  const layers = new LayerPlanner(store, offer.layers, ledger.synced);
  for (const image of images.values()) layers.want(image);
  const imageChanges = imageSteps(store, images, { synced: ledger.synced, isOurs });
  const distribution = distributionSteps(store, layers.wantedCopies(), ledger.distribution);

  const known = state === 'read' ? noted : contentByStore(store, offer);
  const removals = findRemovals({
    store,
    known,
    wantedImages: images,
    wantedLayers: layers.own,
    changes: merge.changes,
    displaced: merge.displaced,
    isOurs,
    planner: layers,
    forget,
  });

  const pins = pinSteps({
    store,
    images: config.prunedImages === 'restore' ? images : new Map(),
    ownLayers: layers.own,
    known: state === 'read' ? noted.layers.keys() : store.mounts.pinnedLayers(),
    synced: ledger.synced,
  });

  const content: LedgerContent = {
    references: merge.own,
    images: new Map([
      ...[...images.values()]
        .filter(({ id }) => !store.images.has(id) || isOurs(id))
        .map((image) => [image.id, image.label] as const),
      ...removals.keptImages,
    ]),
    layers: new Map([...layers.ownLabels(), ...removals.keptLayers]),
  };
  // A run that was killed has removed some, perhaps.
  const ownFiles = [...ledger.distribution].filter(
    (path) => ledger.next === undefined || existsSync(join(store.paths.root, path)),
  );
  const stale = removals.staleDistribution(ownFiles);
  const restored = restoredNow(store, ledger);
  const isMended = (id: ImageID): boolean =>
    imageChanges.some(
      (step) => step.do === 'store-image' && step.id === id && store.readImage(id)?.equals(step.config) !== true,
    );
  const final: Ledger = {
    ...content,
    synced: false,
    next: undefined,
    removed: forget ? new Map() : merge.removed,
    displaced: merge.displaced,
    // One that is mended gets our mark.
    restored: new Map([...restored].filter(([id]) => content.images.has(id) && !isMended(id))),
    restoring: undefined,
    lent: timesOf(
      store,
      [...merge.own.values()].filter((id) => !isOurs(id)),
    ),
    distribution: new Set([...ownFiles, ...distribution.written].filter((path) => !stale.includes(path))),
  };

  const ledgerNow: Ledger = { ...ledger, restored, restoring: undefined };
  const build: Step[] = [...layers.steps(), ...pins.add, ...imageChanges, ...distribution.steps];
  if (merge.changes.size > 0)
    build.push({
      do: 'write-references',
      text: updateReferenceStore(store.referenceStore, merge.changes),
      changes: merge.changes,
    });
  build.push(...stale.map((path): Step => ({ do: 'remove-distribution', path })), ...pins.remove, ...removals.steps);
  if (
    content.layers.size === 0 &&
    layers.own.size === 0 &&
    store.layers.hasTraceOfEmptyLayer() &&
    !removals.isEmptyLayerInUse()
  )
    build.push({ do: 'remove-empty-layer' });

  return {
    steps: withLedger(build, { state, written, ledger: ledgerNow, reclaimed: merge.reclaimed }, final),
    findings: [...beyond.values(), ...offer.findings, ...merge.findings, ...removals.findings],
    catalogue: offer,
    content,
    pinned: pins.pinned,
    wanted: images,
    kept: removals.keptLayers,
    sharedWithUser: layers.sharedWithUser,
  };
}

interface Before {
  readonly state: LedgerState['state'];
  readonly written: Ledger;
  /** With its references settled. */
  readonly ledger: Ledger;
  readonly reclaimed: ReadonlySet<string>;
}

/** The ledger says what is about to change before anything does, and what is there when all is done. */
function withLedger(build: readonly Step[], before: Before, final: Ledger): Step[] {
  const { state, written } = before;
  if (build.length === 0 && state !== 'invalid') {
    if (isSameLedger({ ...final, synced: written.synced }, written)) return [];
    if (state === 'none' && isEmpty(final)) return [];
  }
  if (isEmpty(final) && final.removed.size === 0)
    return [...begin(build, before, final), ...build, { do: 'remove-ledger' }];
  return [...begin(build, before, final), ...build, { do: 'write-ledger', ledger: final, final: true }];
}

/** Nothing that either the old or the new ledger knows may be forgotten if this run is killed, and the next one, too. */
function begin(build: readonly Step[], { ledger, reclaimed }: Before, final: Ledger): Step[] {
  if (build.length === 0) return [];
  const { references, images, layers } = final;
  const before: Ledger = {
    // With the new times in `lent`, what the user has loaded again would look untouched to the next run.
    references: new Map([...ledger.references].filter(([name]) => !reclaimed.has(name))),
    ...mayBeThere(ledger),
    synced: false,
    next: { references, images, layers },
    removed: new Map([...ledger.removed, ...final.removed]),
    displaced: new Map([...ledger.displaced, ...final.displaced]),
    lent: new Map([...ledger.lent, ...final.lent]),
    restored: ledger.restored,
    restoring: undefined,
    distribution: new Set([...ledger.distribution, ...final.distribution]),
  };
  return [{ do: 'write-ledger', final: false, ledger: before }];
}

function isEmpty(content: LedgerContent): boolean {
  return content.references.size === 0 && content.images.size === 0 && content.layers.size === 0;
}

/**
 * Images to have in the store: those with a reference that is ours or that the store has, those that no disk has a name
 * for and that nothing was built on, and the steps of classic builds that lead to any of them. One whose tags all went to
 * others, or a step without what was built on it, would be listed as <none>.
 */
function wantedImages(
  offer: Catalogue,
  changes: ReadonlyMap<string, ImageID | undefined>,
  store: Store,
  isOurs: (id: ImageID) => boolean,
): Map<ImageID, DiskImage> {
  const parentOf = (image: DiskImage): ImageID | undefined =>
    store.images.has(image.id) && !isOurs(image.id)
      ? store.imageParent(image.id)
      : asImageID(image.metadata.get('parent')?.toString());
  const parents = new Set([...offer.images.values()].map(parentOf));
  const held = new Set(new Map([...store.referenceStore.references, ...changes]).values());
  const wanted = new Map<ImageID, DiskImage>();
  for (const image of offer.images.values()) {
    if (!held.has(image.id) && (offer.named.has(image.id) || parents.has(image.id))) continue;
    for (let step: DiskImage | undefined = image; step !== undefined && !wanted.has(step.id);) {
      wanted.set(step.id, step);
      const parent = parentOf(step);
      step = parent === undefined ? undefined : offer.images.get(parent);
    }
  }
  return wanted;
}

function timesOf(store: Store, images: readonly ImageID[]): Map<ImageID, number> {
  return new Map(
    images.flatMap((id) => {
      const time = store.imageTime(id);
      return time === undefined ? [] : [[id, time] as const];
    }),
  );
}

/**
 * With the ledger lost, our layers are found by their cache-id, and our images by their mark. Which names were ours cannot
 * be known, so they stay.
 */
function contentByStore(store: Store, offer: Catalogue): Pick<LedgerContent, 'images' | 'layers'> {
  const layers = new Map<ChainID, string>();
  for (const chain of store.layers.inOurFolders()) {
    if (store.layers.ownership(chain) === 'ours')
      layers.set(chain, offer.layers.get(chain)?.[0]?.label ?? labelInLink(store.layers.own(chain).diff) ?? '');
  }
  const images = new Map(
    [...store.images]
      .filter((id) => store.isOwnImage(id))
      .map((id) => [id, labelOfImage(id, store, offer, layers)] as const),
  );
  return { images, layers };
}

function labelOfImage(id: ImageID, store: Store, offer: Catalogue, layers: ReadonlyMap<ChainID, string>): string {
  const top = store.imageConfig(id)?.chains.at(-1);
  return offer.images.get(id)?.label ?? (top === undefined ? undefined : layers.get(top)) ?? '';
}

/** The label of the disk that a layer of ours was linked to: the folder that it is mounted on. */
function labelInLink(diff: string | undefined): string | undefined {
  return /\/([^/]+)\/overlay2\/[^/]+\/diff$/.exec(diff ?? '')?.[1];
}
