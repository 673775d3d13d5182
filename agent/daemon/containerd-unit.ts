import { MOBY } from '../containerd/image-name.ts';
import type { Finding } from '../messages/finding.ts';
import { isSystemUnit, showUnit } from '../system/systemctl.ts';

const UNIT = 'docker-preloader-containerd.service';

/**
 * Checks that whoever uses containerd without Docker waits for its images. Docker's own namespace needs no unit, because
 * docker.service's drop-in fills that.
 */
export async function compareWithContainerdUnit(namespaces: readonly string[]): Promise<Finding | undefined> {
  const others = namespaces.filter((name) => name !== MOBY);
  if (others.length === 0 || !isSystemUnit()) return undefined;
  try {
    const properties = await showUnit(UNIT, 'WantedBy', 'RequiredBy', 'LoadState');
    const isThere = properties.get('LoadState')?.[0] === 'loaded';
    const isWanted = ['WantedBy', 'RequiredBy'].some((name) => (properties.get(name)?.[0] ?? '') !== '');
    return isThere && !isWanted ? notAwaited(others) : undefined;
  } catch {
    // Ignored: the images are there all the same, a moment after containerd.
    return undefined;
  }
}

/** What is told where the unit is not enabled. */
export function notAwaited(namespaces: readonly string[]): Finding {
  return {
    code: 'CONTAINERD_NOT_AWAITED',
    message: `namespace ${namespaces.join(', ')} of containerd is filled once containerd runs, and whoever uses it does not wait for that; run: systemctl enable docker-preloader-containerd`,
  };
}
