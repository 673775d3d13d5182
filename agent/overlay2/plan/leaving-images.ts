import type { DiskImage } from '../../disk/read-disk.ts';
import type { ImageID } from '../../docker/ids.ts';
import type { Store } from '../store/store.ts';
import type { Whose } from './whose.ts';

export interface LeavingImages {
  readonly removed: ReadonlySet<ImageID>;
  /** Images that stay although no disk offers them any more, with the label of the disk that they came from. */
  readonly kept: ReadonlyMap<ImageID, string>;
}

export interface LeavingImagesInput {
  readonly store: Store;
  readonly whose: Whose;
  readonly wanted: ReadonlyMap<ImageID, DiskImage>;
  /** The names that each image will have. */
  readonly names: ReadonlyMap<ImageID, readonly string[]>;
  /** The user's images that wait for names that disks have. They get them back. */
  readonly waiting: ReadonlySet<ImageID>;
}

/**
 * Which of our images that no disk offers any more go, and which stay. An image stays if it has a name of the user's or
 * waits for one, if a container was made from it, or if an image that stays was built on it.
 */
export function leavingImages({ store, whose, wanted, names, waiting }: LeavingImagesInput): LeavingImages {
  const unwanted = [...whose.known.images].filter(
    ([id]) => !wanted.has(id) && store.images.has(id) && whose.ownImages.has(id),
  );
  // This is the usual case, and no container has to be read in it.
  if (unwanted.length === 0) return { removed: new Set(), kept: new Map() };
  const containerTops = new Set(store.mounts.containerParents().values());
  const isUsed = (id: ImageID): boolean => {
    const top = store.imageConfig(id)?.chains.at(-1);
    return names.has(id) || waiting.has(id) || (top !== undefined && containerTops.has(top));
  };
  const used = new Map(unwanted.filter(([id]) => isUsed(id)));
  const unused = new Set(unwanted.map(([id]) => id).filter((id) => !used.has(id)));
  const parents = unused.size === 0 ? unused : parentsAmong(unused, store);
  return {
    removed: new Set([...unused].filter((id) => !parents.has(id))),
    kept: new Map([...used, ...[...parents].map((id) => [id, whose.known.images.get(id) ?? ''] as const)]),
  };
}

/**
 * Those of the images on which an image that stays was built. dockerd does not remove them either (moby,
 * daemon/images/image_delete.go, conflictDependentChild). When the other one is removed, `docker rmi` goes on to them,
 * and fails if they are not there.
 */
function parentsAmong(images: ReadonlySet<ImageID>, store: Store): ReadonlySet<ImageID> {
  const parents = new Set<ImageID>();
  for (const id of store.images) {
    if (images.has(id)) continue;
    for (
      let parent = store.imageParent(id);
      parent !== undefined && images.has(parent) && !parents.has(parent);
      parent = store.imageParent(parent)
    )
      parents.add(parent);
  }
  return parents;
}
