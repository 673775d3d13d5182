import { lstatSync } from 'node:fs';
import type { DiskImage } from '../../disk/read-disk.ts';
import type { ImageID } from '../../docker/ids.ts';
import type { Store } from '../store/store.ts';
import { readIfThere } from '../../system/read-files.ts';
import type { Step } from './steps.ts';

interface ImageStepOptions {
  /** Whether everything that we wrote has reached the disk. */
  readonly synced: boolean;
  readonly ownImages: ReadonlySet<ImageID>;
}

/**
 * The steps for images whose configuration or metadata is missing in the store, or damaged. Metadata that dockerd has
 * changed for the user (`lastUpdated` after a `docker tag`) stays.
 */
export function imageSteps(
  store: Store,
  images: ReadonlyMap<ImageID, DiskImage>,
  { synced, ownImages }: ImageStepOptions,
): Step[] {
  const steps: Step[] = [];
  for (const image of images.values()) {
    const isNew = !store.images.has(image.id);
    const whole = !isNew && isWhole(store, image, synced);
    // A disk that came later may know the step that an image of ours was built from. Without that link, the step is
    // listed as <none>.
    const mayBeMissing = (name: string): boolean => isNew || !synced || (name === 'parent' && ownImages.has(image.id));
    const metadata = new Map(
      [...image.metadata].filter(([name]) => mayBeMissing(name) && isDamaged(store, image.id, name)),
    );
    if (!whole || metadata.size > 0)
      steps.push({
        do: 'store-image',
        id: image.id,
        label: image.label,
        own: isNew || ownImages.has(image.id),
        config: image.config,
        metadata,
      });
  }
  return steps;
}

function isWhole(store: Store, image: DiskImage, synced: boolean): boolean {
  if (synced) return lstatSync(store.paths.image(image.id), { throwIfNoEntry: false })?.size === image.config.length;
  return store.readImage(image.id)?.equals(image.config) === true;
}

/**
 * The form of what dockerd writes into imagedb/metadata (moby, image/store.go). With another `lastUpdated`, `docker
 * inspect` fails.
 */
const FORMS: Readonly<Record<string, RegExp>> = {
  parent: /^sha256:[0-9a-f]{64}$/,
  lastUpdated: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
};

/** Whether metadata is missing, or is what a power cut leaves: empty, zeros, or cut short. */
function isDamaged(store: Store, id: ImageID, name: string): boolean {
  const content = readIfThere(`${store.paths.imageMetadata(id)}/${name}`);
  return (
    content === undefined ||
    content.length === 0 ||
    content.includes(0) ||
    FORMS[name]?.test(content.toString('latin1')) === false
  );
}
