import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import { readDaemonConfig } from '../docker/daemon-config.ts';
import { PreloaderError } from '../system/errors.ts';
import type { Config } from '../config/config.ts';
import { storeIn } from './image-store.ts';
import { unmountDisks } from './mount-disks.ts';

/**
 * Takes everything of ours out of the store on which nothing of the user's stands, as if no disk were attached, and
 * unmounts the disks that nothing needs any more.
 * @throws PreloaderError DOCKER_RUNNING, before anything is changed, and others
 */
export async function unlinkStore(
  config: Config,
): Promise<{ readonly steps: number; readonly findings: readonly Finding[] }> {
  const dataRoot = config.dataRoot ?? (await readDaemonConfig(config.dockerConfig)).dataRoot;
  const store = storeIn(dataRoot);
  if (store.isDaemonRunning())
    throw new PreloaderError(
      'DOCKER_RUNNING',
      `dockerd is running on ${dataRoot}: expected a stopped one; run: systemctl stop docker.socket docker`,
    );
  if (!existsSync(dataRoot)) return { steps: 0, findings: [] };
  const lock = await store.lock();
  try {
    store.clearUp();
    const planned = store.readLedger().planRemoval(config);
    const { steps, findings, kept } = planned.plan;
    planned.apply();
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
