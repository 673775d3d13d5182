import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import { readDaemonConfig } from '../docker/daemon-config.ts';
import { isDockerRunning, lastStarted } from '../docker/instance.ts';
import { Store } from '../overlay2/store.ts';
import { PreloaderError } from '../system/errors.ts';
import { apply } from '../overlay2/apply/apply-steps.ts';
import type { Config } from '../config/config.ts';
import { readLedger } from '../overlay2/ledger.ts';
import { unmountDisks } from './mount-disks.ts';
import { plan } from '../overlay2/plan/make-plan.ts';
import { takeLock } from '../overlay2/store-lock.ts';

/**
 * Takes out of the store all that is ours and that nothing of the user's stands on, as if no disk were attached, and
 * unmounts the disks that nothing needs any more.
 * @throws PreloaderError DOCKER_RUNNING and others; the store is then as it was
 */
export async function unlinkStore(
  config: Config,
): Promise<{ readonly steps: number; readonly findings: readonly Finding[] }> {
  const dataRoot = config.dataRoot ?? (await readDaemonConfig(config.dockerConfig)).dataRoot;
  if (isDockerRunning(dataRoot))
    throw new PreloaderError(
      'DOCKER_RUNNING',
      `dockerd is running on ${dataRoot}: a stopped one expected; run: systemctl stop docker.socket docker`,
    );
  if (!existsSync(dataRoot)) return { steps: 0, findings: [] };
  const lock = await takeLock(dataRoot);
  try {
    const started = lastStarted(dataRoot);
    const { steps, findings, kept } = plan({
      store: new Store(dataRoot),
      ledger: readLedger(dataRoot),
      disks: [],
      config,
      forget: true,
    });
    apply(dataRoot, steps, started);
    const keep = new Set([...kept.values()].map((label) => join(config.mountRoot, label)));
    const failures = unmountDisks(config.mountRoot, keep).map((failure): Finding => ({
      code: 'MOUNT_BUSY',
      message: `a disk stays mounted: ${failure}`,
    }));
    return { steps: steps.length, findings: [...findings, ...failures] };
  } finally {
    lock.release();
  }
}
