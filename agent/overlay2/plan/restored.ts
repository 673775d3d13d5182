import type { ImageID } from '../../docker/ids.ts';
import type { Store } from '../store/store.ts';
import type { Ledger } from '../store/ledger.ts';

/** An image that is to be there again is there within this time of what the ledger says of it, or dockerd had no answer. */
const LOAD_MS = 60_000;
/** A file's time is that of the kernel's last tick. */
const TICK_MS = 20;

/**
 * Whether dockerd has the image from us, after a prune: it has written the configuration then, as for any load, so the time
 * of our mark is gone, and the ledger has the one that it has instead. Any later load or pull gives it another (moby,
 * image/fs.go, Set), and the image is the user's.
 *
 * Where we were killed before the ledger had that time, names tell: the load gives none, and we give them once the time is
 * noted. Whoever has named the image was the user, and it is his.
 */
export function isRestored(id: ImageID, store: Store, { restored, restoring }: Ledger): boolean {
  const time = store.imageTime(id);
  if (time === undefined) return false;
  if (restored.get(id) === time) return true;
  if (restoring?.images.has(id) !== true || time < restoring.sinceMs - TICK_MS || time > restoring.sinceMs + LOAD_MS)
    return false;
  return ![...store.referenceStore.references.values()].includes(id);
}

/** The images that are there by us, with the times of their configurations. */
export function restoredNow(store: Store, ledger: Ledger): Map<ImageID, number> {
  const images = new Set([...ledger.restored.keys(), ...(ledger.restoring?.images ?? [])]);
  return new Map(
    [...images].flatMap((id) => {
      const time = store.imageTime(id);
      return time !== undefined && isRestored(id, store, ledger) ? [[id, time] as const] : [];
    }),
  );
}
