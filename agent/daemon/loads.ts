import type { DiskImage } from '../disk/read-disk.ts';
import { asImageID, type ImageID } from '../docker/ids.ts';
import type { LayerlessImage } from '../docker/api/image-archive.ts';

/** How much is loaded at once. An image takes a few kilobytes, but its configuration may have megabytes. */
const BATCH_BYTES = 2 * 1024 * 1024;

/** Images that have to be loaded together: a single one, or the steps of a classic build in their order. */
type Family = readonly LayerlessImage[];

/** Divides images into loads, each with some families. */
export function loadsOf(images: readonly DiskImage[]): readonly (readonly Family[])[] {
  return batches(families(new Map(images.map((image) => [image.id, image] as const))));
}

/**
 * Each image with the steps of the classic build that it was made from, which come first: dockerd accepts such links
 * only within one load.
 */
function families(lost: ReadonlyMap<ImageID, DiskImage>): Family[] {
  const parentOf = (image: DiskImage): ImageID | undefined => {
    const parent = asImageID(image.metadata.get('parent')?.toString());
    return parent !== undefined && lost.has(parent) ? parent : undefined;
  };
  const rootOf = (image: DiskImage): { readonly root: ImageID; readonly depth: number } => {
    let [step, depth] = [image, 0];
    for (let parent = parentOf(step); parent !== undefined && depth <= lost.size; parent = parentOf(step)) {
      step = lost.get(parent) ?? step;
      depth += 1;
    }
    return { root: step.id, depth };
  };
  const placed = [...lost.values()].map((image) => ({ image, ...rootOf(image) }));
  return [...Map.groupBy(placed, ({ root }) => root).values()].map((family) =>
    family
      .toSorted((a, b) => a.depth - b.depth)
      .map(({ image }) => ({
        id: image.id,
        config: image.config,
        layers: image.chains.length,
        parent: parentOf(image),
      })),
  );
}

function batches(all: readonly Family[]): Family[][] {
  const made: Family[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const family of all) {
    const size = family.reduce((sum, { config }) => sum + config.length, 0);
    if (bytes + size > BATCH_BYTES) {
      made.push([]);
      bytes = 0;
    }
    made.at(-1)?.push(family);
    bytes += size;
  }
  return made;
}
