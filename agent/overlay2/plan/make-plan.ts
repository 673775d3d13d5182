import type { Config } from '../../config/config.ts';
import type { DiskImage } from '../../disk/read-disk.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import { updateReferenceStore } from '../../docker/reference-store.ts';
import { mergeReferences, type ReferenceMerge } from '../../merge/merge-references.ts';
import { offerOf, type Offer, type RankedDisk } from '../../merge/offer.ts';
import type { Finding } from '../../messages/finding.ts';
import { settleReferences, type LedgerContent, type LedgerState } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import { distributionSteps, type LayerCopies } from './distribution-steps.ts';
import { contentAfter } from './content-after.ts';
import { imageSteps } from './image-steps.ts';
import { keptFindings } from './kept-findings.ts';
import { layerSteps } from './layer-steps.ts';
import { withLedger } from './ledger-steps.ts';
import { leavingImages } from './leaving-images.ts';
import { leavingLayers } from './leaving-layers.ts';
import { linkLayers, relinkLayers, type LinkedLayers } from './linked-layers.ts';
import { pinnedLayers, pinSteps } from './pin-steps.ts';
import { removalSteps } from './removal-steps.ts';
import type { Step } from './steps.ts';
import { wantedImages } from './wanted-images.ts';
import { whoseIs } from './whose.ts';

export interface PlanInput {
  readonly store: Store;
  readonly ledger: LedgerState;
  readonly disks: readonly RankedDisk[];
  readonly config: Pick<Config, 'conflicts' | 'removedImages' | 'prunedImages'>;
  /** Whether nothing is to be remembered, because the program goes. */
  readonly forget?: boolean;
  /** Images of the disks for which there is no room, with the finding for each. */
  readonly beyond?: ReadonlyMap<ImageID, Finding>;
}

export interface Plan {
  /** In the order in which they are to be done. Empty if the store is as it should be. */
  readonly steps: readonly Step[];
  readonly findings: readonly Finding[];
  readonly offer: Offer;
  /** Our layers and images that are in the store afterwards. */
  readonly content: LedgerContent;
  /** Those of these layers that stay although no disk has them, with the label of the disk that had them. */
  readonly kept: ReadonlyMap<ChainID, string>;
  /** Layers of our images that the user has himself, so that nothing is linked for them. */
  readonly sharedWithUser: ReadonlySet<ChainID>;
  /** Layers that a pin keeps when the user prunes. */
  readonly pinned: ReadonlySet<ChainID>;
  /**
   * Images of the disks that the store is to have. The others are not whole, or all their names belong to other images.
   */
  readonly wanted: ReadonlyMap<ImageID, DiskImage>;
}

/**
 * What is to be done so that the store has what the disks offer and loses nothing of the user's. It reads the store and
 * changes nothing. Each stage makes a value from those before it.
 */
export function plan({ store, ledger: found, disks, config, forget = false, beyond = new Map() }: PlanInput): Plan {
  const { state } = found;
  const { references } = store.referenceStore;
  const ledger = settleReferences(found.ledger, references);

  // What the disks offer, and what of that, and of what we may have left, is whose.
  const offer = offerOf(disks, { beyond, users: (chain) => hasUsersLayer(chain, store) });
  const whose = whoseIs({ store, state, ledger, offer });

  // Which image each name will have.
  const merge = mergeReferences({
    store: references,
    ledger,
    disks: offer.references,
    config,
    ledgerLost: state !== 'read',
    untouched: whose.untouchedImages,
    images: store.images,
  });
  const names = new Map<string, ImageID | undefined>([...references, ...merge.changes]);
  const namesOf = namesByImage(names);
  const waiting = new Set(merge.displaced.values());

  // What the store is to have from the disks.
  const wanted = wantedImages({ store, offer, names, ownImages: whose.ownImages });
  const layers = linkLayers(wanted.values(), offer, store);

  // What else of ours stays, and what goes.
  const images = leavingImages({ store, whose, wanted, names: namesOf, waiting });
  const leaving = leavingLayers({ store, whose, layers, wanted, images, names: namesOf, waiting });
  const linked = relinkLayers(layers, leaving.stacks, offer, store);
  const kept = new Map([...leaving.needed].filter(([chain]) => !linked.own.has(chain)));
  const content = contentAfter({ store, whose, merge, wanted, images, linked, kept });

  // The steps that lead there.
  const { synced } = ledger;
  const pinned = pinnedLayers(config.prunedImages === 'restore' ? wanted.values() : [], linked);
  const pins = pinSteps(pinned, store, { mayBePinned: whose.mayBePinned, synced });
  const distribution = distributionSteps(store, ledger, {
    wanted: copiesOf(layers, offer),
    staying: copiesOf(linked, offer),
    removed: leaving.removed,
  });
  const steps = [
    ...layerSteps(linked, store, synced),
    ...pins.add,
    ...imageSteps(store, wanted, { synced, ownImages: whose.ownImages }),
    ...distribution.add,
    ...referenceSteps(store, merge),
    ...distribution.remove,
    ...pins.remove,
    ...removalSteps({ images: images.removed, layers: leaving.removed }, store, content),
  ];

  return {
    steps: withLedger({ store, found, ledger, whose, merge, content, distribution: distribution.own, steps, forget }),
    findings: [...beyond.values(), ...offer.findings, ...merge.findings, ...keptFindings(kept, forget)],
    offer,
    content,
    pinned,
    wanted,
    kept: new Map([...kept].map(([chain, { label }]) => [chain, label])),
    sharedWithUser: linked.sharedWithUser,
  };
}

/** Whether the user's own layer is whole. Undefined if he has none. */
function hasUsersLayer(chain: ChainID, { layers }: Store): boolean | undefined {
  return layers.ownership(chain) === 'user' ? layers.users(chain) !== undefined : undefined;
}

function namesByImage(names: ReadonlyMap<string, ImageID | undefined>): ReadonlyMap<ImageID, readonly string[]> {
  const byImage = Map.groupBy(names, ([, id]) => id);
  return new Map(
    [...byImage].flatMap(([id, entries]) => (id === undefined ? [] : [[id, entries.map(([name]) => name)] as const])),
  );
}

/** The copies of each layer on disks. */
function copiesOf({ offered }: LinkedLayers, offer: Offer): LayerCopies {
  return new Map([...offered].map((chain) => [chain, offer.layers.get(chain) ?? []]));
}

function referenceSteps({ referenceStore }: Store, { changes }: ReferenceMerge): Step[] {
  return changes.size === 0
    ? []
    : [{ do: 'write-references', text: updateReferenceStore(referenceStore, changes), changes }];
}
