import { join } from 'node:path';
import type { Finding } from '../../messages/finding.ts';
import type { DiskImage } from '../../disk/read-disk.ts';
import type { ChainID, ImageID } from '../../docker/ids.ts';
import type { Store } from '../store/store.ts';
import { megabytes } from '../../text/megabytes.ts';
import type { Plan } from './make-plan.ts';
import { fits, folders, isEnough, needOfStep, nothing, shares, sum, type Room, type Share } from './room.ts';

/**
 * The images that are left out so that the rest has room, each with the finding that says so. Room is given first to
 * images that the store already has, then to the others, each time to the smallest first.
 */
export function imagesBeyond(
  { steps, wanted, offer }: Plan,
  room: Room,
  store: Pick<Store, 'dataRoot' | 'images'>,
): ReadonlyMap<ImageID, Finding> {
  const layers = new Map<ChainID, Room>();
  const images = new Map<ImageID, Room>();
  let used = folders;
  for (const step of steps) {
    const need = needOfStep(step);
    if (step.do === 'link-layer' || step.do === 'record-layer')
      layers.set(step.chain, sum(layers.get(step.chain) ?? nothing, need));
    else if (step.do === 'store-image') images.set(step.id, need);
    // A pin counts with its layer if that is new. A pin for an existing layer is not a reason to leave out an image.
    else if (step.do === 'pin-layer' && layers.has(step.chain))
      layers.set(step.chain, sum(layers.get(step.chain) ?? nothing, need));
    else used = sum(used, need);
  }
  const counted = new Set<ChainID>();
  const needOfImage = ({ id, chains }: DiskImage): Room =>
    chains
      .flatMap((chain) => (counted.has(chain) ? [] : (layers.get(chain) ?? [])))
      .reduce(sum, images.get(id) ?? nothing);
  const alone = new Map([...wanted.values()].map((image) => [image.id, needOfImage(image).bytes] as const));
  const rank = ({ id }: DiskImage): readonly [number, number, string] => [
    store.images.has(id) ? 0 : 1,
    alone.get(id) ?? 0,
    id,
  ];
  const beyond = new Map<ImageID, Finding>();
  for (const image of [...wanted.values()].toSorted((a, b) => compare(rank(a), rank(b)))) {
    const need = needOfImage(image);
    const after = sum(used, need);
    if (need.inodes > 0 && !fits(after, room)) {
      const name = [...offer.references].find(([, { image: id }]) => id === image.id)?.[0] ?? image.id;
      beyond.set(image.id, leftOut(image, name, need, room, used, store.dataRoot));
      continue;
    }
    used = after;
    for (const chain of image.chains) counted.add(chain);
  }
  return beyond;
}

function leftOut({ label }: DiskImage, name: string, need: Room, room: Room, used: Room, dataRoot: string): Finding {
  const full = shares(sum(used, need), room).findIndex((share) => !isEnough(share));
  const [before, alone] = [shares(used, room)[full], shares(need, room)[full]] as [Share, Share];
  const left = (what: 'bytes' | 'inodes'): number => Math.max(before.room[what] - before.need[what], 0);
  const [expected, found] =
    before.need.inodes + alone.need.inodes > before.room.inodes
      ? [`${alone.need.inodes} free inodes`, `${left('inodes')}`]
      : [`${megabytes(alone.need.bytes)} free`, megabytes(left('bytes'))];
  return {
    code: 'STORE_FULL',
    label,
    image: name,
    message: `disk ${label}: image ${name} is left out: expected ${expected} in ${join(dataRoot, alone.folder)}, found ${found} beside what is kept for Docker; free some, then run: systemctl restart docker`,
  };
}

function compare(a: readonly [number, number, string], b: readonly [number, number, string]): number {
  return a[0] - b[0] || a[1] - b[1] || (a[2] < b[2] ? -1 : 1);
}
