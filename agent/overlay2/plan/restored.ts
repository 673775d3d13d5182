import type { ImageID } from '../../docker/ids.ts';
import type { Store } from '../store/store.ts';
import type { Ledger } from '../store/ledger.ts';

/** dockerd loads an image within this time after the ledger says that it is to, or does not answer at all. */
const LOAD_MS = 60_000;
/** A file's time is that of the kernel's last tick, which may be before the time that we have noted. */
const TICK_MS = 20;

/**
 * Whether we have had dockerd load the image after a prune. dockerd wrote the configuration then, as for any load, so
 * that our mark is gone. The ledger has the file's new time instead. If the user loads or pulls the image later, the
 * file gets another time (moby, image/fs.go, Set), and the image is his.
 *
 * If we were killed before the ledger had that time, the names tell. Our load gives none, and we give them only when
 * the time is noted. So if the image has a name, the user has given it, and the image is his.
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
