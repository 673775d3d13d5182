import type { References } from '../../docker/reference-store.ts';
import { mergeReferences, type LeftReferences, type ReferenceMerge } from '../../merge/merge-references.ts';
import type { DiskReference } from '../../merge/offer.ts';
import type { Config } from '../../config/config.ts';
import { MOBY } from '../../docker/daemon-config.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { Finding } from '../../messages/finding.ts';
import { contentSteps } from './content-steps.ts';
import { furtherNames, isFurtherName, KUBERNETES, nameWithoutTag } from '../record-names.ts';
import {
  isEmptyNamespaceLedger,
  isSameNamespaceLedger,
  leftReferences,
  type NamespaceLedger,
} from '../containerd-ledger.ts';
import type { LinkFarm } from '../link-farm.ts';
import {
  namespaceOffer,
  type NamespaceOffer,
  type OfferedDisk,
  type OfferedImage,
  type OfferedName,
} from '../namespace-offer.ts';
import { DISK, displacedLabels, displacedNameOf, givenBackLabels, hasMark, ownImageLabels } from '../own-labels.ts';
import { madeAt, ownRecords, targetOf } from '../own-records.ts';
import { layersFrom, topLayerIn, type ContainerdRoots, type OwnPart, type Present } from '../namespace-present.ts';
import type { Descriptor, ImageRecord } from '../api/services.ts';
import { findStanding, lostLayers, standingFindings, type Standing } from './standing.ts';
import type { RefusedBlobs, Step } from './namespace-steps.ts';
import { refusedFindings, unlinkedFindings } from './unlinked-layers.ts';

export interface NamespacePlanInput {
  readonly disks: readonly OfferedDisk[];
  readonly present: Present;
  readonly ledger: NamespaceLedger;
  readonly config: Pick<Config, 'conflicts' | 'removedImages'>;
  readonly farm: LinkFarm;
  readonly roots: ContainerdRoots;
  /** Nothing of ours is to be remembered: the program goes. */
  readonly forget?: boolean;
  /** Blobs that containerd has not taken in this run. */
  readonly refused?: RefusedBlobs;
  /** Images of the disks that there is no room for, with what says so. */
  readonly beyond?: ReadonlyMap<ImageID, Finding>;
}

export interface NamespacePlan {
  readonly namespace: string;
  /** In the order in which they are to be done; none where the namespace is as it should be. */
  readonly steps: readonly Step[];
  readonly findings: readonly Finding[];
  /** The ledger while the steps are done, and when all are. */
  readonly before: NamespaceLedger;
  readonly after: NamespaceLedger;
  /** Whether the ledger is to be written although there are no steps. */
  readonly isLedgerStale: boolean;
  /** Names that are ours afterwards, with the digest of their manifest or index. */
  readonly own: ReadonlyMap<string, ImageID>;
  /** Images of the disks that the namespace has before the steps and after them, with their names there. */
  readonly images: Readonly<Record<'before' | 'after', ReadonlyMap<ImageID, readonly string[]>>>;
  /** Names that we left there, that are gone, and that the steps bring back, with the label of their disk. */
  readonly missing: ReadonlyMap<string, string>;
  /** Names whose image stands on layers of ours that no disk has: the findings tell of these. */
  readonly onLostLayers: ReadonlySet<string>;
  /** Where links of ours belong, and something else is that we do not replace. */
  readonly taken: readonly string[];
  /** Images of the disks that are ours afterwards, by the digest of their manifest or index. */
  readonly wanted: ReadonlyMap<string, OfferedImage>;
  /** Layers of these images that the user has: nothing is made for them. */
  readonly sharedWithUser: ReadonlySet<ChainID>;
}

/**
 * What is to be done so that a namespace has what the disks offer and loses nothing of the user's. Changes nothing.
 */
export function planNamespace(input: NamespacePlanInput): NamespacePlan {
  return new NamespacePlanner(input).plan();
}

class NamespacePlanner {
  readonly #input: NamespacePlanInput;
  readonly #offer: NamespaceOffer;
  readonly #standing: Standing;
  /** Records that are ours before the steps. */
  #ours: ReadonlyMap<string, ImageRecord> = new Map();
  /** Names that are ours afterwards. */
  readonly #own = new Map<string, ImageID>();
  /** Of these, names without a disk, which stay for what stands on them. */
  readonly #kept = new Map<string, ImageRecord>();
  /** By digest, what the disks offer, and what is there: a disk may have ten thousand names. */
  #named: ReadonlyMap<string, readonly OfferedName[]> | undefined;
  #records: ReadonlyMap<string, readonly ImageRecord[]> | undefined;

  constructor(input: NamespacePlanInput) {
    const { disks, present, beyond = new Map() } = input;
    this.#input = input;
    this.#offer = namespaceOffer(disks, present.namespace, {
      isUsers: (chain) => isUsersLayer(present, chain),
      beyond,
    });
    this.#standing = findStanding(present);
  }

  plan(): NamespacePlan {
    const { present, ledger, forget = false } = this.#input;
    const { namespace, images } = present;
    const now = new Map([...images].map(([name, record]) => [name, targetOf(record)] as const));
    const settled = leftReferences(
      isEmptyNamespaceLedger(ledger) ? { ...ledger, displaced: displacedIn(present) } : ledger,
      now,
    );
    this.#ours = ownRecords(present, settled.references, ledger.made);
    const ours = [...this.#ours.values()];
    const untouched = new Set(ours.map(targetOf));
    // What is marked as ours we have left there, whatever the ledger says; of another record it says what was ours once.
    const references = new Map([
      ...[...settled.references].filter(([name]) => !untouched.has(now.get(name) ?? ('' as ImageID))),
      ...ours.map((record) => [record.name, targetOf(record)] as const),
    ]);
    const [primary, further] = this.#merge({ ...settled, references }, { now, untouched });

    const changes = new Map([...primary.changes, ...further.changes]);
    for (const [name, digest] of [...primary.own, ...further.own]) this.#own.set(name, digest);
    this.#keepWaiting(changes, primary);
    this.#keep(changes);
    const wanted = this.#wantedImages();
    const lost = lostLayers(present, this.#offer.layers);
    const steps = [
      ...this.#linkSteps(),
      ...this.#layerSteps(wanted),
      ...contentSteps(wanted.values(), this.#input),
      ...this.#imageSteps(changes, primary),
      ...present.staleLeases.map((id): Step => ({ do: 'delete-lease', id })),
    ];
    const after: NamespaceLedger = {
      references: this.#own,
      next: undefined,
      removed: forget ? new Map() : primary.removed,
      displaced: primary.displaced,
      made: this.#made(),
    };
    return {
      namespace,
      steps,
      findings: [
        ...(this.#input.beyond?.values() ?? []),
        ...this.#offer.findings,
        ...refusedFindings(wanted.values(), this.#input.refused ?? new Map()),
        ...primary.findings,
        ...standingFindings({
          present,
          standing: this.#standing,
          lostLayers: lost,
          // What is about to go, or to name another image, is no reason to stay.
          remaining: [...images.values()].filter(({ name }) => !changes.has(name)),
          kept: this.#kept,
          isSettled: steps.length === 0,
          forget,
        }),
        ...(namespace === MOBY ? unlinkedFindings(wanted.values(), this.#input.roots) : []),
      ],
      before: {
        // What is the user's now is not one that he has removed, should this run be killed and he remove it.
        references: new Map(
          [...references].filter(
            ([name, digest]) => !now.has(name) || (now.get(name) === digest && untouched.has(digest)),
          ),
        ),
        next: this.#own,
        removed: new Map([...settled.removed, ...after.removed]),
        displaced: new Map([...settled.displaced, ...after.displaced]),
        made: new Map([...after.made].filter(([name]) => !changes.has(name))),
      },
      after,
      isLedgerStale: !isSameNamespaceLedger(ledger, after),
      own: this.#own,
      images: {
        before: this.#namesOf(now),
        after: this.#namesOf(new Map([...now, ...changes])),
      },
      missing: new Map(
        [...references.keys()].flatMap((name) => {
          const label = this.#own.has(name) && !now.has(name) ? this.#offer.names.get(name)?.label : undefined;
          return label === undefined ? [] : [[name, label] as const];
        }),
      ),
      onLostLayers: new Set(
        [...(lost.size === 0 ? [] : images.values())].flatMap((record) =>
          layersFrom(present, topLayerIn(present, record) ?? '').some((chain) => lost.has(chain)) ? [record.name] : [],
        ),
      ),
      taken: [...present.snapshots.values(), ...present.content.values()].flatMap(({ own }) =>
        own?.place.is === 'taken' ? [own.path] : [],
      ),
      wanted,
      sharedWithUser: new Set(
        [...wanted.values()].flatMap(({ image }) =>
          image.chains.filter(
            (chain) => present.snapshots.has(chain) && present.snapshots.get(chain)?.own === undefined,
          ),
        ),
      ),
    };
  }

  /**
   * When what is ours was made. While the user has a copy of our labels, it is known, too, of names that are his now, or
   * nobody's: he may give them such a copy.
   */
  #made(): ReadonlyMap<string, string> {
    const { present, ledger } = this.#input;
    if (present.namespace === KUBERNETES) return new Map();
    const hasCopies = [...present.images.values()].some((record) => !this.#ours.has(record.name) && hasMark(record));
    return new Map([
      ...(hasCopies ? ledger.made : []),
      ...[...this.#ours.values()].map((record) => [record.name, madeAt(record)] as const),
    ]);
  }

  /** The tags by the same rules as in dockerd's own store; then the further names that go with the tags that are ours. */
  #merge(
    ledger: LeftReferences,
    { now, untouched }: { readonly now: References; readonly untouched: ReadonlySet<ImageID> },
  ): readonly [primary: ReferenceMerge, further: ReferenceMerge] {
    const { present, config } = this.#input;
    const { namespace } = present;
    // A digest that is all that a disk calls its image by is a name as tags are.
    const isFurther = (name: string): boolean =>
      isFurtherName(namespace, name) && !this.#offer.names.has(name) && !ledger.removed.has(name);
    const part = <Value>(map: ReadonlyMap<string, Value>, further: boolean): Map<string, Value> =>
      new Map([...map].filter(([name]) => isFurther(name) === further));
    const merge = (
      further: boolean,
      disks: ReadonlyMap<string, DiskReference>,
      rules: Pick<Config, 'conflicts' | 'removedImages'>,
    ): ReferenceMerge =>
      mergeReferences({
        store: part(now, further),
        ledger: {
          ...ledger,
          references: part(ledger.references, further),
          removed: part(ledger.removed, further),
          displaced: part(ledger.displaced, further),
          next: undefined,
        },
        disks,
        config: rules,
        ledgerLost: false,
        untouched,
        images: new Set(now.values()),
      });

    const offers = new Map(
      [...this.#offer.names].map(([name, { image, label }]) => [name, { image: targetId(image.target), label }]),
    );
    const primary = merge(false, offers, config);
    const disks = new Map<string, DiskReference>();
    for (const [name, digest] of primary.own) {
      const offered = this.#offer.names.get(name);
      if (offered === undefined || targetId(offered.image.target) !== digest) continue;
      for (const other of furtherNames(namespace, name, offered.image.target, offered.image.image.id))
        if (isFurther(other)) disks.set(other, { image: digest, label: offered.label });
    }
    return [primary, merge(true, disks, { conflicts: 'user', removedImages: 'restore' })];
  }

  /** An image of the user's that waits for its name, and that a disk has, too, keeps the disk's name without the disk. */
  #keepWaiting(changes: Map<string, ImageID | undefined>, { displaced }: ReferenceMerge): void {
    const waiting = new Set(displaced.values());
    for (const [name, digest] of changes) {
      const record = this.#ours.get(name);
      if (digest !== undefined || record === undefined || !waiting.has(targetOf(record))) continue;
      changes.delete(name);
      this.#own.set(name, targetOf(record));
    }
  }

  /**
   * An image that containers stand on keeps a name: with its last one its configuration would go, and with that what
   * Docker knows of the container's image.
   */
  #keep(changes: Map<string, ImageID | undefined>): void {
    const { images, namespace } = this.#input.present;
    for (const [name, digest] of changes) {
      const record = images.get(name);
      if (record?.target === undefined || !this.#ours.has(name)) continue;
      const top = topLayerIn(this.#input.present, record);
      if (top === undefined || (this.#standing.containers.get(top) ?? []).length === 0) continue;
      if (digest === undefined) {
        changes.delete(name);
        this.#own.set(name, targetOf(record));
        this.#kept.set(name, record);
        continue;
      }
      const other = nameWithoutTag(namespace, name, record.target.digest);
      if (images.has(other)) continue;
      changes.set(other, targetOf(record));
      this.#own.set(other, targetOf(record));
      this.#kept.set(other, record);
    }
  }

  /** Images of the disks, by ID, with the names that lead to them. */
  #namesOf(names: ReadonlyMap<string, ImageID | undefined>): Map<ImageID, string[]> {
    const ids = new Map(
      [...this.#offer.names.values()].map(({ image }) => [image.target.digest, image.image] as const),
    );
    const found = new Map<ImageID, string[]>();
    for (const [name, digest] of names) {
      const image = digest === undefined ? undefined : ids.get(digest);
      if (image === undefined) continue;
      const others = found.get(image.id);
      if (others === undefined) found.set(image.id, [name]);
      else others.push(name);
    }
    return found;
  }

  /** Images of the disks that have a name of ours afterwards, by the digest of their manifest. */
  #wantedImages(): Map<string, OfferedImage> {
    const offered = new Map([...this.#offer.names.values()].map(({ image }) => [image.target.digest, image] as const));
    const wanted = new Map<string, OfferedImage>();
    for (const [name, digest] of this.#own) {
      const image = this.#kept.has(name) ? undefined : offered.get(digest);
      if (image !== undefined) wanted.set(digest, image);
    }
    return wanted;
  }

  #linkSteps(): Step[] {
    const { present, farm } = this.#input;
    const steps: Step[] = [];
    const mend = ({ path, place }: OwnPart, target: string): void => {
      if (place.is === 'free' || (place.is === 'link' && place.target !== target))
        steps.push({ do: 'mend-link', path, target });
    };
    for (const [chain, { own }] of present.snapshots) if (own !== undefined) mend(own, farm.layer(chain));
    for (const [digest, { own }] of present.content) if (own !== undefined) mend(own, farm.blob(digest));
    return steps;
  }

  #layerSteps(wanted: ReadonlyMap<string, OfferedImage>): Step[] {
    const { snapshots } = this.#input.present;
    const steps = new Map<ChainID, Step>();
    for (const { image } of wanted.values()) {
      image.chains.forEach((chain, index) => {
        if (snapshots.has(chain) || steps.has(chain)) return;
        steps.set(chain, {
          do: 'make-layer',
          chain,
          parent: image.chains[index - 1],
          disk: this.#offer.layers.get(chain) ?? image.label,
        });
      });
    }
    return [...steps.values()];
  }

  /** New names first, so that what loses its own has another by then; removals last. */
  #imageSteps(changes: ReadonlyMap<string, ImageID | undefined>, { own, displaced }: ReferenceMerge): Step[] {
    const { images, namespace } = this.#input.present;
    const create: Step[] = [];
    const replace: Step[] = [];
    const remove: Step[] = [];
    const take = (name: string, target: Descriptor, labels: ReadonlyMap<string, string>): void => {
      const before = images.get(name);
      const image = { name, target, labels };
      if (before === undefined) create.push({ do: 'create-image', image });
      else replace.push({ do: 'replace-image', before, image });
    };
    for (const [name, digest] of changes) {
      const record = images.get(name);
      if (digest === undefined) {
        if (record !== undefined) remove.push({ do: 'delete-image', before: record });
        continue;
      }
      const kept = this.#kept.get(name);
      const offered = this.#offer.names.get(name) ?? this.#offeredAs(digest);
      if (kept?.target !== undefined) {
        const disk = kept.labels.get(DISK) ?? '';
        take(
          name,
          kept.target,
          ownImageLabels(namespace, { name, digest, disk, top: topLayerIn(this.#input.present, kept) }),
        );
      } else if (this.#own.has(name) && offered !== undefined) {
        const { image, label } = offered;
        const top = image.image.chains.at(-1);
        take(name, image.target, ownImageLabels(namespace, { name, digest, disk: label, top }));
      } else if (!own.has(name)) {
        const holder = this.#holderOf(name, digest);
        if (holder?.target === undefined) continue;
        take(name, holder.target, givenBackLabels(holder));
      }
    }
    for (const [name, digest] of displaced) {
      const record = images.get(name);
      if (record?.target === undefined || targetOf(record) !== digest) continue;
      const holder = nameWithoutTag(namespace, name, digest);
      if (!images.has(holder) && !changes.has(holder))
        create.push({
          do: 'create-image',
          image: { name: holder, target: record.target, labels: displacedLabels(record) },
        });
    }
    return [...create, ...replace, ...remove, ...this.#needlessHolders(changes)];
  }

  /** What has kept an image of the user's goes when the image has its name again. */
  #needlessHolders(changes: ReadonlyMap<string, ImageID | undefined>): Step[] {
    const { images, namespace } = this.#input.present;
    return [...images.values()].flatMap((holder): Step[] => {
      const name = displacedNameOf(namespace, holder);
      const { target } = holder;
      if (name === undefined || target === undefined) return [];
      const after = changes.has(name) ? changes.get(name) : images.get(name)?.target?.digest;
      return after === target.digest ? [{ do: 'delete-image', before: holder }] : [];
    });
  }

  #offeredAs(digest: ImageID): OfferedName | undefined {
    this.#named ??= Map.groupBy(this.#offer.names.values(), ({ image }) => image.target.digest);
    return this.#named.get(digest)?.[0];
  }

  /** The record that has kept an image of the user's while a disk had its name, or any other of that image. */
  #holderOf(name: string, digest: ImageID): ImageRecord | undefined {
    const { present } = this.#input;
    this.#records ??= Map.groupBy(present.images.values(), targetOf);
    const records = this.#records.get(digest) ?? [];
    return records.find((record) => displacedNameOf(present.namespace, record) === name) ?? records[0];
  }
}

/** What waits for which name, by the records that keep it: where the ledger is lost, they alone tell. */
function displacedIn({ namespace, images }: Present): Map<string, ImageID> {
  return new Map(
    [...images.values()].flatMap((record) => {
      const name = displacedNameOf(namespace, record);
      return name === undefined ? [] : [[name, targetOf(record)] as const];
    }),
  );
}

function isUsersLayer({ snapshots }: Present, chain: ChainID): boolean {
  const there = snapshots.get(chain);
  return there !== undefined && there.isCommitted && there.own === undefined;
}

function targetId({ digest }: Descriptor): ImageID {
  return digest as ImageID;
}
