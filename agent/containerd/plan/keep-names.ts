import type { ImageID } from '../../docker/ids.ts';
import type { References } from '../../docker/reference-store.ts';
import type { ImageRecord } from '../api/services.ts';
import { topLayerIn, type Present } from '../namespace-present.ts';
import { targetOf } from '../own-records.ts';
import { nameWithoutTag } from '../record-names.ts';
import type { KnownNames } from './known-names.ts';
import type { NameMerge } from './merge-names.ts';
import type { Standing } from './standing.ts';

/** The names of a namespace as they will be. */
export interface NamesAfter {
  /** What to change. Undefined means removal. */
  readonly changes: ReadonlyMap<string, ImageID | undefined>;
  /** Names that are ours afterwards. */
  readonly own: References;
  /** Of these, names without a disk, which stay for what stands on them. */
  readonly kept: ReadonlyMap<string, ImageRecord>;
}

interface Kept {
  readonly name: string;
  readonly digest: ImageID;
  /** Where a container stands on the image: the record that is kept. */
  readonly record?: ImageRecord;
  /** Whether the record stays as it is, so that nothing is changed. */
  readonly isAsItWas: boolean;
}

/** The merged names, without the changes that would take from the user what stands on an image of ours. */
export function keepNames(
  { primary, further }: NameMerge,
  { ours }: Pick<KnownNames, 'ours'>,
  present: Present,
  standing: Pick<Standing, 'containers'>,
): NamesAfter {
  const merged = new Map([...primary.changes, ...further.changes]);
  const waiting = waitingNames(merged, ours, new Set(primary.displaced.values()));
  const left = new Map([...merged].filter(([name]) => !waiting.some((kept) => kept.name === name)));
  const held = heldNames(left, ours, present, standing);
  const unchanged = new Set(held.filter(({ isAsItWas }) => isAsItWas).map(({ name }) => name));
  return {
    changes: new Map([
      ...[...left].filter(([name]) => !unchanged.has(name)),
      ...held.filter(({ isAsItWas }) => !isAsItWas).map(({ name, digest }) => [name, digest] as const),
    ]),
    own: new Map([
      ...primary.own,
      ...further.own,
      ...[...waiting, ...held].map(({ name, digest }) => [name, digest] as const),
    ]),
    kept: new Map(held.flatMap(({ name, record }) => (record === undefined ? [] : [[name, record] as const]))),
  };
}

/**
 * If an image of the user's that waits for its name is one that a disk has, too, the disk's name stays without the
 * disk.
 */
function waitingNames(
  changes: ReadonlyMap<string, ImageID | undefined>,
  ours: KnownNames['ours'],
  waiting: ReadonlySet<ImageID>,
): Kept[] {
  return [...changes].flatMap(([name, digest]): Kept[] => {
    const record = ours.get(name);
    return digest !== undefined || record === undefined || !waiting.has(targetOf(record))
      ? []
      : [{ name, digest: targetOf(record), isAsItWas: true }];
  });
}

/**
 * An image that containers stand on keeps a name. With its last one its configuration would go, and with that what
 * Docker knows of the container's image. If the name goes to another image, this one gets the name of an image without
 * a tag.
 */
function heldNames(
  changes: ReadonlyMap<string, ImageID | undefined>,
  ours: KnownNames['ours'],
  present: Present,
  { containers }: Pick<Standing, 'containers'>,
): Kept[] {
  const { images, namespace } = present;
  return [...changes].flatMap(([name, after]): Kept[] => {
    const record = images.get(name);
    if (record?.target === undefined || !ours.has(name)) return [];
    const top = topLayerIn(present, record);
    if (top === undefined || (containers.get(top) ?? []).length === 0) return [];
    const digest = targetOf(record);
    if (after === undefined) return [{ name, digest, record, isAsItWas: true }];
    const other = nameWithoutTag(namespace, name, record.target.digest);
    return images.has(other) ? [] : [{ name: other, digest, record, isAsItWas: false }];
  });
}
