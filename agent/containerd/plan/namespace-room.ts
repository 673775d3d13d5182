import { statSync } from 'node:fs';
import type { Finding } from '../../messages/finding.ts';
import type { ImageID } from '../../docker/ids.ts';
import { BLOCK_BYTES, ENTRY_BYTES, fits, nothing, roomOf, sum, type Room } from '../../overlay2/plan/room.ts';
import { existingPart } from '../../system/read-files.ts';
import { megabytes } from '../../text/megabytes.ts';
import type { OfferedImage } from '../namespace-offer.ts';
import type { NamespacePlan } from './plan-namespace.ts';
import type { ContainerdRoots } from '../namespace-present.ts';
import type { Step } from './namespace-steps.ts';

/**
 * containerd's databases grow by whole pages. A layer and its blob took 10.4 kB, measured with an image of 125 layers.
 */
const RECORD_BYTES = 2 * BLOCK_BYTES;

/** What is left on the filesystem that a containerd keeps its images on. */
export interface ContainerdRoom extends Room {
  readonly path: string;
}

/**
 * How much may be written so that containerd and what it runs still work. The smaller one of its filesystems decides.
 */
export function roomFor({ content, snapshots }: Pick<ContainerdRoots, 'content' | 'snapshots'>): ContainerdRoom {
  const [first, second] = [content, snapshots].map((path) => ({ path, ...roomOf(existingPart(path)) })) as [
    ContainerdRoom,
    ContainerdRoom,
  ];
  const isOne = statSync(existingPart(content)).dev === statSync(existingPart(snapshots)).dev;
  return isOne || first.bytes <= second.bytes ? first : second;
}

/** What a step writes, rounded up. */
function needOfStep(step: Step): Room {
  // A folder takes a block, and so does a symlink to a path of more than 59 bytes.
  const entries = (count: number, bytes = 0): Room => ({
    bytes: count * (BLOCK_BYTES + ENTRY_BYTES) + bytes + RECORD_BYTES,
    inodes: count,
  });
  switch (step.do) {
    case 'make-layer':
      // Its folder, `work`, and the link.
      return entries(3);
    case 'link-blob':
      return entries(1);
    case 'write-content':
      return entries(1, Math.ceil(step.content.length / BLOCK_BYTES) * BLOCK_BYTES);
    case 'label-content':
    case 'create-image':
    case 'replace-image':
      return entries(0);
    case 'mend-link':
    case 'delete-image':
    case 'delete-lease':
      return nothing;
  }
}

export function needOf(steps: readonly Step[]): Room {
  return steps.map(needOfStep).reduce(sum, nothing);
}

/**
 * The images that are left out so that the rest has room, each with the finding that says so. Images that are there are
 * never left out. Of the others, the smallest get room first.
 * @param plan one in which nothing was left out
 */
export function imagesBeyond(
  { namespace, steps, wanted, images }: NamespacePlan,
  room: ContainerdRoom,
): ReadonlyMap<ImageID, Finding> {
  const parts = new Map<string, Room>();
  for (const step of steps) {
    const key = partOf(step);
    if (key !== undefined) parts.set(key, needOfStep(step));
  }
  const counted = new Set<string>();
  const needOfImage = (image: OfferedImage): Room =>
    [...partsOf(image)].flatMap((part) => (counted.has(part) ? [] : (parts.get(part) ?? []))).reduce(sum, nothing);
  const take = (image: OfferedImage): void => {
    used = sum(used, needOfImage(image));
    for (const part of partsOf(image)) counted.add(part);
  };
  let used = needOf(steps.filter((step) => partOf(step) === undefined));
  const fresh: OfferedImage[] = [];
  for (const image of wanted.values())
    if (images.before.has(image.image.id)) take(image);
    else fresh.push(image);
  const alone = new Map(fresh.map((image) => [image, needOfImage(image).bytes] as const));
  const beyond = new Map<ImageID, Finding>();
  for (const image of fresh.toSorted((a, b) => (alone.get(a) ?? 0) - (alone.get(b) ?? 0) || compare(a, b))) {
    const need = needOfImage(image);
    if (fits(sum(used, need), room)) take(image);
    else beyond.set(image.image.id, leftOut(namespace, image, need, used, room));
  }
  return beyond;
}

/** The part of an image that a step makes. Images may have it in common. Undefined if it is no such step. */
function partOf(step: Step): string | undefined {
  if (step.do === 'make-layer') return step.chain;
  return step.do === 'link-blob' || step.do === 'write-content' ? step.digest : undefined;
}

function partsOf({ image, parts: { manifests, layers } }: OfferedImage): ReadonlySet<string> {
  return new Set([
    ...image.chains,
    image.id,
    ...manifests.map(({ descriptor }) => descriptor.digest),
    ...layers.map(({ descriptor }) => descriptor.digest),
  ]);
}

function compare({ image: { id: a } }: OfferedImage, { image: { id: b } }: OfferedImage): number {
  return a < b ? -1 : 1;
}

function leftOut(
  namespace: string,
  { image: { id, label }, parts: { references } }: OfferedImage,
  need: Room,
  used: Room,
  room: ContainerdRoom,
): Finding {
  const left = (what: 'bytes' | 'inodes'): number => Math.max(room[what] - used[what], 0);
  const [expected, found] =
    need.inodes > left('inodes')
      ? [`${need.inodes} free inodes`, `${left('inodes')}`]
      : [`${megabytes(need.bytes)} free`, megabytes(left('bytes'))];
  const name = references[0] ?? id;
  return {
    code: 'STORE_FULL',
    label,
    image: name,
    message: `disk ${label}: image ${name} is left out of namespace ${namespace} of containerd: expected ${expected} in ${room.path}, found ${found} beside what is kept for containers; free some, then run: docker-preloader apply --only containerd`,
  };
}
