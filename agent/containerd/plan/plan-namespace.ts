import type { Config } from '../../config/config.ts';
import { MOBY } from '../../docker/daemon-config.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { Finding } from '../../messages/finding.ts';
import { isSameNamespaceLedger, type NamespaceLedger } from '../containerd-ledger.ts';
import type { LinkFarm } from '../link-farm.ts';
import { namespaceOffer, type NamespaceOffer, type OfferedDisk, type OfferedImage } from '../namespace-offer.ts';
import { layersFrom, topLayerIn, type ContainerdRoots, type Present } from '../namespace-present.ts';
import { contentSteps } from './content-steps.ts';
import { keepNames, type NamesAfter } from './keep-names.ts';
import { knownNames } from './known-names.ts';
import { mergeNames } from './merge-names.ts';
import type { RefusedBlobs, Step } from './namespace-steps.ts';
import { recordSteps } from './record-steps.ts';
import { linkSteps, snapshotSteps } from './snapshot-steps.ts';
import { findStanding, lostLayers, standingFindings } from './standing.ts';
import { refusedFindings, unlinkedFindings } from './unlinked-layers.ts';

export interface NamespacePlanInput {
  readonly disks: readonly OfferedDisk[];
  readonly present: Present;
  readonly ledger: NamespaceLedger;
  readonly config: Pick<Config, 'conflicts' | 'removedImages'>;
  readonly farm: LinkFarm;
  readonly roots: ContainerdRoots;
  /** Whether nothing is to be remembered, because the program goes. */
  readonly forget?: boolean;
  /** Blobs that containerd has not taken in this run. */
  readonly refused?: RefusedBlobs;
  /** Images of the disks for which there is no room, with the finding for each. */
  readonly beyond?: ReadonlyMap<ImageID, Finding>;
}

export interface NamespacePlan {
  readonly namespace: string;
  /** In the order in which they are to be done. Empty if the namespace is as it should be. */
  readonly steps: readonly Step[];
  readonly findings: readonly Finding[];
  /** The ledger while the steps are being done, and when all are done. */
  readonly before: NamespaceLedger;
  readonly after: NamespaceLedger;
  /** Whether the ledger is to be written even if there are no steps. */
  readonly isLedgerStale: boolean;
  /** Names that are ours afterwards, with the digest of their manifest or index. */
  readonly own: ReadonlyMap<string, ImageID>;
  /** Images of the disks that the namespace has before the steps and after them, with their names there. */
  readonly images: Readonly<Record<'before' | 'after', ReadonlyMap<ImageID, readonly string[]>>>;
  /** Names that we left there, that are gone, and that the steps bring back, each with the label of its disk. */
  readonly missing: ReadonlyMap<string, string>;
  /** Names whose image stands on layers of ours that no disk has. The findings tell of these. */
  readonly onLostLayers: ReadonlySet<string>;
  /** Paths where a link of ours belongs, and where something else is that we do not replace. */
  readonly taken: readonly string[];
  /** Images of the disks that are ours afterwards, by the digest of their manifest or index. */
  readonly wanted: ReadonlyMap<string, OfferedImage>;
  /** Layers of these images that the user has himself, so that nothing is made for them. */
  readonly sharedWithUser: ReadonlySet<ChainID>;
}

/**
 * What is to be done so that a namespace has what the disks offer and loses nothing of the user's. It changes nothing.
 * Each stage makes a value from those before it.
 */
export function planNamespace(input: NamespacePlanInput): NamespacePlan {
  const {
    disks,
    present,
    ledger,
    config,
    roots,
    farm,
    forget = false,
    beyond = new Map(),
    refused = new Map(),
  } = input;
  const { namespace, images } = present;

  // What the disks offer, and which of the names that are there are ours.
  const offer = namespaceOffer(disks, namespace, { isUsers: (chain) => isUsersLayer(present, chain), beyond });
  const known = knownNames(present, ledger);
  const { now, left, untouched } = known;

  // What each name will lead to.
  const merge = mergeNames(namespace, offer, known, config);
  const { primary } = merge;
  const standing = findStanding(present);
  const names = keepNames(merge, known, present, standing);
  const { changes, own } = names;

  // What the namespace is to have from the disks, and what it keeps without them.
  const wanted = wantedImages(names, offer);
  const lost = lostLayers(present, offer.layers);

  // The steps that lead there.
  const steps = [
    ...linkSteps(present, farm),
    ...snapshotSteps(wanted.values(), present, offer),
    ...contentSteps(wanted.values(), { present, roots, refused }),
    ...recordSteps({ present, offer, names, merge: primary }),
    ...present.staleLeases.map((id): Step => ({ do: 'delete-lease', id })),
  ];

  const after: NamespaceLedger = {
    references: own,
    next: undefined,
    removed: forget ? new Map() : primary.removed,
    displaced: primary.displaced,
    made: known.made,
  };
  const before: NamespaceLedger = {
    // If this run is killed, and the user then removes what is the user's now, that must not count as a removal of
    // ours.
    references: new Map(
      [...left.references].filter(
        ([name, digest]) => !now.has(name) || (now.get(name) === digest && untouched.has(digest)),
      ),
    ),
    next: own,
    removed: new Map([...left.removed, ...after.removed]),
    displaced: new Map([...left.displaced, ...after.displaced]),
    made: new Map([...after.made].filter(([name]) => !changes.has(name))),
  };
  return {
    namespace,
    steps,
    findings: [
      ...beyond.values(),
      ...offer.findings,
      ...refusedFindings(wanted.values(), refused),
      ...primary.findings,
      ...standingFindings({
        present,
        standing,
        lostLayers: lost,
        // What is about to go, or to name another image, is no reason to stay.
        remaining: [...images.values()].filter(({ name }) => !changes.has(name)),
        kept: names.kept,
        isSettled: steps.length === 0,
        forget,
      }),
      ...(namespace === MOBY ? unlinkedFindings(wanted.values(), roots) : []),
    ],
    before,
    after,
    isLedgerStale: !isSameNamespaceLedger(ledger, after),
    own,
    images: { before: namesByImage(now, offer), after: namesByImage(new Map([...now, ...changes]), offer) },
    missing: new Map(
      [...left.references.keys()].flatMap((name) => {
        const label = own.has(name) && !now.has(name) ? offer.names.get(name)?.label : undefined;
        return label === undefined ? [] : [[name, label] as const];
      }),
    ),
    onLostLayers: new Set(
      [...(lost.size === 0 ? [] : images.values())].flatMap((record) =>
        layersFrom(present, topLayerIn(present, record) ?? '').some((chain) => lost.has(chain)) ? [record.name] : [],
      ),
    ),
    taken: [...present.snapshots.values(), ...present.content.values()].flatMap((part) =>
      part.own?.place.is === 'taken' ? [part.own.path] : [],
    ),
    wanted,
    sharedWithUser: new Set(
      [...wanted.values()].flatMap(({ image }) =>
        image.chains.filter((chain) => present.snapshots.has(chain) && present.snapshots.get(chain)?.own === undefined),
      ),
    ),
  };
}

/** Images of the disks that have a name of ours afterwards, by the digest of their manifest. */
function wantedImages({ own, kept }: NamesAfter, offer: NamespaceOffer): ReadonlyMap<string, OfferedImage> {
  const offered = new Map([...offer.names.values()].map(({ image }) => [image.target.digest, image] as const));
  return new Map(
    [...own].flatMap(([name, digest]) => {
      const image = kept.has(name) ? undefined : offered.get(digest);
      return image === undefined ? [] : [[digest, image] as const];
    }),
  );
}

/** Images of the disks, by ID, with the names that lead to them. */
function namesByImage(
  names: ReadonlyMap<string, ImageID | undefined>,
  offer: NamespaceOffer,
): ReadonlyMap<ImageID, readonly string[]> {
  const ids = new Map([...offer.names.values()].map(({ image }) => [image.target.digest, image.image.id] as const));
  const byImage = Map.groupBy(names.entries(), ([, digest]) => (digest === undefined ? undefined : ids.get(digest)));
  return new Map(
    [...byImage].flatMap(([id, entries]) => (id === undefined ? [] : [[id, entries.map(([name]) => name)] as const])),
  );
}

function isUsersLayer({ snapshots }: Present, chain: ChainID): boolean {
  const there = snapshots.get(chain);
  return there !== undefined && there.isCommitted && there.own === undefined;
}
