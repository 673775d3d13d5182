import { lstatSync } from 'node:fs';
import type { DiskImage } from '../disk/reader.ts';
import type { ImageID } from '../docker/ids.ts';
import type { Store } from '../docker/store.ts';
import { readIfThere } from '../system/files.ts';
import type { Step } from './steps.ts';

/**
 * Images whose configuration or metadata is missing in the store, or damaged. Metadata that the user's dockerd has changed
 * (`lastUpdated` after a `docker tag`) stays.
 */
export function imageSteps(store: Store, images: ReadonlyMap<ImageID, DiskImage>, synced: boolean): Step[] {
  const steps: Step[] = [];
  for (const image of images.values()) {
    const isNew = !store.images.has(image.id);
    const whole = !isNew && isWhole(store, image, synced);
    const metadata = new Map([...image.metadata].filter(([name, content]) => (isNew || !synced) && isDamaged(store, image.id, name, content)));
    if (!whole || metadata.size > 0) steps.push({ do: 'store-image', id: image.id, label: image.label, config: image.config, metadata });
  }
  return steps;
}

function isWhole(store: Store, image: DiskImage, synced: boolean): boolean {
  if (synced) return lstatSync(store.paths.image(image.id), { throwIfNoEntry: false })?.size === image.config.length;
  return store.readImage(image.id)?.equals(image.config) === true;
}

/** Missing, or what a power cut leaves: nothing, the beginning, or zeros. */
function isDamaged(store: Store, id: ImageID, name: string, whole: Buffer): boolean {
  const content = readIfThere(`${store.paths.imageMetadata(id)}/${name}`);
  return content === undefined || content.includes(0) || (content.length < whole.length && whole.subarray(0, content.length).equals(content));
}
