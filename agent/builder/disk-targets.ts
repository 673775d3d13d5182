import type { DiffID, ImageID } from '../docker/ids.ts';
import { makeImageManifest } from '../docker/image-manifest.ts';
import { MAX_HELD_BYTES } from '../disk/limits.ts';
import type { ManifestTarget } from '../disk/manifest.ts';
import type { RegistryManifest } from './archive/input-image.ts';
import type { PlannedTarget } from './plan-blobs.ts';

/** What docker-preloader.json says of the images in containerd's store, and the manifests that it refers to. */
export interface DiskTargets {
  readonly targets: ReadonlyMap<ImageID, readonly ManifestTarget[]>;
  readonly manifests: readonly RegistryManifest[];
}

/**
 * Makes the manifests that no archive has, once the sizes of all tars are known. What would be more bytes than the
 * agent holds of one disk is left out: such an image gets a manifest when it is put into a store.
 * @param tarBytes the sizes of layers' tars; an image of which one is not known gets no manifest
 */
export function diskTargets(planned: readonly PlannedTarget[], tarBytes: ReadonlyMap<DiffID, number>): DiskTargets {
  const targets = new Map<ImageID, ManifestTarget[]>();
  const manifests: RegistryManifest[] = [];
  const seen = new Set<string>();
  let heldBytes = 0;
  for (const target of planned) {
    const path = target.path ?? madePath(target, tarBytes);
    if (path === undefined) continue;
    heldBytes += path.reduce((sum, { digest, bytes }) => sum + (seen.has(digest) ? 0 : bytes.length), 0);
    if (heldBytes > MAX_HELD_BYTES) break;
    for (const { digest } of path) seen.add(digest);
    manifests.push(...path);
    const { references } = target;
    const descriptors = path.map(({ mediaType, digest, bytes }) => ({ mediaType, digest, sizeBytes: bytes.length }));
    targets.set(target.image, [...(targets.get(target.image) ?? []), { references, path: descriptors }]);
  }
  return { targets, manifests };
}

function madePath(
  { config, layers }: PlannedTarget,
  tarBytes: ReadonlyMap<DiffID, number>,
): RegistryManifest[] | undefined {
  const descriptors = layers.flatMap(({ mediaType, digest, diffID, sizeBytes = tarBytes.get(diffID) }) =>
    sizeBytes === undefined ? [] : [{ mediaType, digest, sizeBytes }],
  );
  if (descriptors.length < layers.length) return undefined;
  const { descriptor, bytes } = makeImageManifest(config, descriptors);
  return [{ ...descriptor, bytes }];
}
