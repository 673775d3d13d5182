import type { ImageID } from '../../docker/ids.ts';
import type { ReferenceMerge } from '../../merge/merge-references.ts';
import type { ImageRecord } from '../api/services.ts';
import type { NewImage } from '../api/containerd-api.ts';
import type { NamespaceOffer, OfferedName } from '../namespace-offer.ts';
import { topLayerIn, type Present } from '../namespace-present.ts';
import { DISK, displacedLabels, displacedNameOf, givenBackLabels, ownImageLabels } from '../own-labels.ts';
import { targetOf } from '../own-records.ts';
import { nameWithoutTag } from '../record-names.ts';
import type { NamesAfter } from './keep-names.ts';
import type { Step } from './namespace-steps.ts';

interface RecordInput {
  readonly present: Present;
  readonly offer: Pick<NamespaceOffer, 'names'>;
  readonly names: NamesAfter;
  readonly merge: Pick<ReferenceMerge, 'own' | 'displaced'>;
}

/**
 * The steps for the records of images. New names come first, so that an image that loses its own has another one by
 * then. Removals come last.
 */
export function recordSteps(input: RecordInput): Step[] {
  const { images } = input.present;
  const { changes } = input.names;
  const recordOf = recordsAfter(input);
  const create: Step[] = [];
  const replace: Step[] = [];
  const remove: Step[] = [];
  for (const [name, digest] of changes) {
    const before = images.get(name);
    if (digest === undefined) {
      if (before !== undefined) remove.push({ do: 'delete-image', before });
      continue;
    }
    const image = recordOf(name, digest);
    if (image === undefined) continue;
    if (before === undefined) create.push({ do: 'create-image', image });
    else replace.push({ do: 'replace-image', before, image });
  }
  return [...create, ...holderSteps(input), ...replace, ...remove, ...needlessHolders(input)];
}

/** A function that gives the record that a name is to have. */
function recordsAfter({
  present,
  offer,
  names: { own, kept },
  merge,
}: RecordInput): (name: string, digest: ImageID) => NewImage | undefined {
  const { namespace } = present;
  // A disk may have ten thousand names, so what they lead to is looked up in maps, which are made when one is needed.
  let offered: ReadonlyMap<string, readonly OfferedName[]> | undefined;
  let records: ReadonlyMap<string, readonly ImageRecord[]> | undefined;
  const offeredAs = (digest: ImageID): OfferedName | undefined => {
    offered ??= Map.groupBy(offer.names.values(), ({ image }) => image.target.digest);
    return offered.get(digest)?.[0];
  };
  /** The record that has kept an image of the user's while a disk had its name, or any other of that image. */
  const holderOf = (name: string, digest: ImageID): ImageRecord | undefined => {
    records ??= Map.groupBy(present.images.values(), targetOf);
    const all = records.get(digest) ?? [];
    return all.find((record) => displacedNameOf(namespace, record) === name) ?? all[0];
  };
  return (name, digest) => {
    const record = kept.get(name);
    if (record?.target !== undefined) {
      const [disk, top] = [record.labels.get(DISK) ?? '', topLayerIn(present, record)];
      return { name, target: record.target, labels: ownImageLabels(namespace, { name, digest, disk, top }) };
    }
    const known = offer.names.get(name) ?? offeredAs(digest);
    if (own.has(name) && known !== undefined) {
      const { image, label: disk } = known;
      const top = image.image.chains.at(-1);
      return { name, target: image.target, labels: ownImageLabels(namespace, { name, digest, disk, top }) };
    }
    const holder = merge.own.has(name) ? undefined : holderOf(name, digest);
    return holder?.target === undefined ? undefined : { name, target: holder.target, labels: givenBackLabels(holder) };
  };
}

/** An image of the user's whose name a disk takes is kept under another one. */
function holderSteps({ present: { images, namespace }, names: { changes }, merge }: RecordInput): Step[] {
  return [...merge.displaced].flatMap(([name, digest]): Step[] => {
    const record = images.get(name);
    if (record?.target === undefined || targetOf(record) !== digest) return [];
    const holder = nameWithoutTag(namespace, name, digest);
    if (images.has(holder) || changes.has(holder)) return [];
    return [{ do: 'create-image', image: { name: holder, target: record.target, labels: displacedLabels(record) } }];
  });
}

/** What has kept an image of the user's goes when the image has its name again. */
function needlessHolders({ present: { images, namespace }, names: { changes } }: RecordInput): Step[] {
  return [...images.values()].flatMap((holder): Step[] => {
    const name = displacedNameOf(namespace, holder);
    const { target } = holder;
    if (name === undefined || target === undefined) return [];
    const after = changes.has(name) ? changes.get(name) : images.get(name)?.target?.digest;
    return after === target.digest ? [{ do: 'delete-image', before: holder }] : [];
  });
}
