import type { ChainID } from '../../docker/ids.ts';
import type { Finding } from '../../messages/finding.ts';
import { listNames, plural } from '../../text/plural.ts';
import { BUILD_CACHE, type NeededLayer } from './leaving-layers.ts';

/**
 * Findings, one for each disk, that layers stay in the store without the disk, with what stands on them.
 * @param forget whether `unlink` was to take them out
 */
export function keptFindings(kept: ReadonlyMap<ChainID, NeededLayer>, forget: boolean): Finding[] {
  return [...Map.groupBy(kept.values(), ({ label }) => label)].map(([label, layers]) => {
    const who = new Set(layers.flatMap((layer) => [...layer.who]));
    const hasCache = who.delete(BUILD_CACHE);
    const names = [...[...who].toSorted(), ...(hasCache ? [BUILD_CACHE] : [])];
    const isOnlyCache = hasCache && who.size === 0;
    const text = {
      label: label === '' ? '(unknown)' : label,
      layers: layers.length,
      stand: `${listNames(names)} ${names.length === 1 ? 'stands' : 'stand'} on`,
      hasCache,
      isOnlyCache,
    };
    const message = forget ? leftMessage(text) : keptMessage(text);
    return { code: isOnlyCache ? 'BUILD_CACHE' : 'KEPT', label, message };
  });
}

interface KeptLayers {
  readonly label: string;
  readonly layers: number;
  /** What stands on them, in words. */
  readonly stand: string;
  readonly hasCache: boolean;
  readonly isOnlyCache: boolean;
}

const PRUNE = 'run: docker builder prune -a';

/** The message for a disk that is not attached, or has other content now. */
function keptMessage({ label, layers, stand, hasCache, isOnlyCache }: KeptLayers): string {
  const [it, stay] = layers === 1 ? ['it', 'it stays'] : ['them', 'they stay'];
  const what = `disk ${label} no longer has ${plural(layers, 'layer')} that ${stand}; ${stay} in the store`;
  if (isOnlyCache) return `${what}; to let go of ${it}, ${PRUNE}`;
  return `${what}; for what stands there to work again, attach a disk that has ${it}, or remove and pull it${hasCache ? `; for the cache, ${PRUNE}` : ''}`;
}

/** The message if `unlink` was to take the layers out. */
function leftMessage({ label, layers, stand, hasCache, isOnlyCache }: KeptLayers): string {
  const [it, stays] = layers === 1 ? ['it', 'stays'] : ['them', 'stay'];
  const what = `${plural(layers, 'layer')} of disk ${label} ${stays} in the store, since ${stand} ${it}`;
  const cure = isOnlyCache
    ? `start Docker, ${PRUNE}`
    : `start Docker, remove what stands there${hasCache ? `, for the cache ${PRUNE}` : ''}`;
  return `${what}; to let go of ${it}, ${cure}; then stop Docker and run: docker-preloader unlink`;
}
