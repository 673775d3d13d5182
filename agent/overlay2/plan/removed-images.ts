import type { Finding } from '../../messages/finding.ts';
import type { ImageID } from '../../docker/ids.ts';
import type { Store } from '../store.ts';
import { listNames, plural } from '../../text/plural.ts';
import type { Ledger } from '../ledger.ts';
import type { Plan } from './make-plan.ts';

/**
 * Images of the disks that dockerd had and has no more: what was removed is not merely late.
 * @param had images that dockerd is known to have had, beside those that the ledger names
 */
export function removedImages(
  { wanted }: Plan,
  store: Store,
  ledger: Ledger,
  had: ReadonlySet<string> = new Set(),
): ReadonlySet<ImageID> {
  const named = new Set(ledger.references.values());
  return new Set(
    [...wanted.keys()].filter((id) => !store.images.has(id) && (ledger.images.has(id) || named.has(id) || had.has(id))),
  );
}

/** A finding for each disk. */
export function removedFindings({ wanted, offer: { references } }: Plan, removed: ReadonlySet<ImageID>): Finding[] {
  const images = [...wanted.values()].filter(({ id }) => removed.has(id));
  return [...Map.groupBy(images, ({ label }) => label)].map(([label, { length }]) => {
    const names = [...references]
      .filter(([, { image }]) => removed.has(image) && wanted.get(image)?.label === label)
      .map(([name]) => name);
    const which = names.length === 0 ? '' : ` (${listNames(names.toSorted())})`;
    const [are, they] = length === 1 ? ['is', 'it comes'] : ['are', 'they come'];
    return {
      code: 'REMOVED',
      label,
      message: `disk ${label}: ${plural(length, 'image')} that dockerd had ${are} no longer in its store${which}; ${they} back when Docker next starts; run: systemctl restart docker`,
    };
  });
}
