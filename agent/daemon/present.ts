import { readLedger, settleReferences } from '../overlay2/store/ledger.ts';
import { isRestored } from '../overlay2/plan/restored.ts';
import type { ImageID } from '../docker/ids.ts';
import { Store } from '../overlay2/store/store.ts';

/** Which of our images and names dockerd has at some time. */
export interface Present {
  readonly names: ReadonlyMap<string, ImageID>;
  readonly images: ReadonlySet<ImageID>;
  /** Names that were ours and that the user has given to something else. */
  readonly taken: ReadonlySet<string>;
}

export const nothingThere: Present = { names: new Map(), images: new Set(), taken: new Set() };

/**
 * Reads which of our images and names are there from dockerd's files, which it writes before it reports a change (moby,
 * daemon/images/image_delete.go).
 * @throws PreloaderError, system errors
 */
export function readPresent(dataRoot: string): Present {
  const store = new Store(dataRoot);
  const ledger = settleReferences(readLedger(dataRoot).ledger, store.referenceStore.references);
  const isOurs = (id: ImageID): boolean => store.isOwnImage(id) || isRestored(id, store, ledger);
  const isLent = (id: ImageID): boolean => ledger.lent.has(id) && ledger.lent.get(id) === store.imageTime(id);
  const named = new Set(ledger.references.values());
  const stillNamed = new Set(
    [...ledger.references].flatMap(([name, id]) => (store.referenceStore.references.get(name) === id ? [id] : [])),
  );
  // An image that has just lost its last name does not count: dockerd removes it a moment later.
  const images = new Set(
    [...ledger.images.keys()].filter(
      (id) => store.images.has(id) && (!named.has(id) || stillNamed.has(id)) && isOurs(id),
    ),
  );
  const names = [...ledger.references].filter(
    ([name, id]) => store.referenceStore.references.get(name) === id && (images.has(id) || isLent(id)),
  );
  const ours = new Map(names);
  const taken = [...ledger.references.keys()].filter(
    (name) => store.referenceStore.references.has(name) && !ours.has(name),
  );
  return { names: ours, images, taken: new Set(taken) };
}

/** What was there before and is now gone. */
export function missingOf(before: Present, now: Present): Present {
  return {
    names: new Map([...before.names].filter(([name]) => !now.names.has(name))),
    images: new Set([...before.images].filter((id) => !now.images.has(id))),
    taken: new Set(),
  };
}

/** What is in either, except the names that are taken in the later one. */
export function unionOf(left: Present, right: Present): Present {
  const names = [...left.names, ...right.names].filter(([name]) => !right.taken.has(name));
  return { names: new Map(names), images: new Set([...left.images, ...right.images]), taken: right.taken };
}

export function isNothing({ names, images }: Present): boolean {
  return names.size === 0 && images.size === 0;
}
