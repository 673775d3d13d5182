import type { Preload } from '../boot/preload.ts';
import type { DiskContent, DiskImage } from '../disk/reader.ts';
import type { ImageID } from '../docker/ids.ts';

/** Whether anything of a disk waits for Docker's next start. */
export function isPendingFor(run: Preload, content: DiskContent): boolean {
  const waiting = pendingImages(run);
  return [...content.images.values()].some((image) => waiting.has(image.id));
}

const known = new WeakMap<Preload, ReadonlySet<ImageID>>();

/** Images of the disks that the store lacks anything of, while what is planned was not done. */
export function pendingImages(run: Preload): ReadonlySet<ImageID> {
  let images = known.get(run);
  if (images === undefined) known.set(run, (images = findPending(run)));
  return images;
}

function findPending({ plan, applied }: Preload): Set<ImageID> {
  const images = new Set<ImageID>();
  if (plan === undefined || applied) return images;
  const layers = new Set<string>();
  for (const step of plan.steps) {
    if (step.do === 'link-layer' || step.do === 'record-layer') layers.add(step.chain);
    else if (step.do === 'store-image') images.add(step.id);
    else if (step.do === 'write-references') for (const id of step.changes.values()) if (id !== undefined) images.add(id);
  }
  const lacks = (image: DiskImage): boolean => image.chains.some((chain) => layers.has(chain));
  for (const image of plan.wanted.values()) if (lacks(image)) images.add(image.id);
  return images;
}
