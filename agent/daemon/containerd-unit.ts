import { enableFiller, FILLER, WITH_OWN_CONTAINERD } from '../containerd/filler-unit.ts';
import { MOBY } from '../docker/daemon-config.ts';
import type { Finding } from '../messages/finding.ts';
import { isSystemUnit, showUnit, valueOf } from '../system/systemctl.ts';

/**
 * Checks that whoever uses containerd without Docker waits for its images. Docker's own namespace needs no unit,
 * because docker.service's drop-in fills that.
 */
export async function compareWithContainerdUnit(namespaces: readonly string[]): Promise<Finding | undefined> {
  const others = namespaces.filter((name) => name !== MOBY);
  if (others.length === 0 || !isSystemUnit()) return undefined;
  try {
    const properties = await showUnit(FILLER, 'WantedBy', 'RequiredBy', 'LoadState');
    const isWanted = ['WantedBy', 'RequiredBy'].some((name) => valueOf(properties, name) !== '');
    if (valueOf(properties, 'LoadState') !== 'loaded' || isWanted) return undefined;
    return notAwaited(others, await firstInstalled(WITH_OWN_CONTAINERD));
  } catch {
    // Ignored: the images are there all the same, a moment after containerd.
    return undefined;
  }
}

async function firstInstalled(units: readonly string[]): Promise<string | undefined> {
  for (const unit of units) if (valueOf(await showUnit(unit, 'LoadState'), 'LoadState') === 'loaded') return unit;
  return undefined;
}

/** The finding if the unit is not enabled. @param user a unit that starts a containerd of its own, if there is one */
export function notAwaited(namespaces: readonly string[], user: string | undefined): Finding {
  return {
    code: 'CONTAINERD_NOT_AWAITED',
    message: `namespace ${namespaces.join(', ')} of containerd is filled once containerd runs, and whoever uses it does not wait for that; run: ${enableFiller(user)}`,
  };
}
