import type { Preload } from '../boot/preload.ts';
import type { DiskContent, DiskImage } from '../disk/read-disk.ts';
import type { ChainID, ImageID } from '../docker/ids.ts';

/** Whether any image of a disk waits for Docker's next start. */
export function isPendingFor(run: Preload, content: DiskContent): boolean {
  const { containerd } = run;
  if (content.images.size > 0 && (containerd?.state === 'waiting' || containerd?.state === 'planned')) return true;
  const waiting = pendingImages(run);
  return [...content.images.values()].some((image) => waiting.has(image.id));
}

/** Whether all stores that are filled were filled, or were as they should be. */
export function isApplied({ plan, applied, containerd }: Preload): boolean {
  if (containerd === undefined) return applied;
  return (plan === undefined || applied || plan.steps.length === 0) && containerd.state === 'filled';
}

/** How many changes there were to make to all stores. */
export function changesOf({ plan, containerd }: Preload): number {
  const ofNamespaces = containerd?.plans.reduce((sum, { steps }) => sum + steps.length, 0) ?? 0;
  return (plan?.steps.length ?? 0) + ofNamespaces;
}

interface Waiting {
  readonly images: ReadonlySet<ImageID>;
  readonly layers: ReadonlySet<ChainID>;
}

const known = new WeakMap<Preload, Waiting>();

/** Images of the disks of which the store lacks something, because the plan was not carried out. */
export function pendingImages(run: Preload): ReadonlySet<ImageID> {
  return waitingOf(run).images;
}

/**
 * Whether dockerd has an image of the disks now: because it was planned and done, or because dockerd had it before with
 * all its layers.
 */
export function hasImage(run: Preload, { id, chains }: DiskImage): boolean {
  const { plan, store, applied } = run;
  if (plan === undefined) return false;
  if (applied) return plan.wanted.has(id);
  const { layers } = waitingOf(run);
  if (!plan.offer.images.has(id)) return false;
  return store?.images.has(id) === true && !chains.some((chain) => layers.has(chain));
}

function waitingOf(run: Preload): Waiting {
  let waiting = known.get(run);
  if (waiting === undefined) known.set(run, (waiting = findWaiting(run)));
  return waiting;
}

function findWaiting({ plan, applied }: Preload): Waiting {
  const images = new Set<ImageID>();
  const layers = new Set<ChainID>();
  if (plan === undefined || applied) return { images, layers };
  for (const step of plan.steps) {
    if (step.do === 'link-layer' || step.do === 'record-layer') layers.add(step.chain);
    else if (step.do === 'store-image') images.add(step.id);
    else if (step.do === 'write-references')
      for (const id of step.changes.values()) if (id !== undefined) images.add(id);
  }
  const lacks = (image: DiskImage): boolean => image.chains.some((chain) => layers.has(chain));
  for (const image of plan.wanted.values()) if (lacks(image)) images.add(image.id);
  return { images, layers };
}
