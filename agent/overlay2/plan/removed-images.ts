import type { ImageID } from '../../docker/ids.ts';
import type { Finding } from '../../messages/finding.ts';
import { listNames, plural } from '../../text/plural.ts';
import type { Ledger } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import type { Plan } from './make-plan.ts';

/**
 * Images of the disks that dockerd had and has lost since, with a finding for each disk. The user is to know that they
 * were removed, and are not merely late.
 * @param had images that dockerd is known to have had, beside those that the ledger names
 */
export function removedImages(
  { wanted, offer: { references } }: Plan,
  store: Store,
  ledger: Ledger,
  had: ReadonlySet<string>,
): { readonly images: ReadonlySet<ImageID>; readonly findings: readonly Finding[] } {
  const named = new Set(ledger.references.values());
  const removed = [...wanted.values()].filter(
    ({ id }) => !store.images.has(id) && (ledger.images.has(id) || named.has(id) || had.has(id)),
  );
  const images = new Set(removed.map(({ id }) => id));
  const findings = [...Map.groupBy(removed, ({ label }) => label)].map(([label, { length }]): Finding => {
    const names = [...references]
      .filter(([, { image }]) => images.has(image) && wanted.get(image)?.label === label)
      .map(([name]) => name);
    const which = names.length === 0 ? '' : ` (${listNames(names.toSorted())})`;
    const [are, they] = length === 1 ? ['is', 'it comes'] : ['are', 'they come'];
    return {
      code: 'REMOVED',
      label,
      message: `disk ${label}: ${plural(length, 'image')} that dockerd had ${are} no longer in its store${which}; ${they} back when Docker next starts; run: systemctl restart docker`,
    };
  });
  return { images, findings };
}
