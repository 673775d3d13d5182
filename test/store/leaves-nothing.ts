import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import type { Site } from './site.ts';

/**
 * With its last disks goes all that is ours, where nothing is the user's.
 * @param disks as they were attached; neither dockerd nor the agent runs
 */
export function leavesNothing(site: Site, ...disks: readonly string[]): Promise<void> {
  return leavesNothingBut([], site, ...disks);
}

/**
 * What dockerd was writing when it was killed: an image's configuration below another name, which it leaves there for
 * good (moby, image/fs.go, Set, by NewAtomicFileWriter). We name nothing so.
 */
export function unfinishedImages(site: Site): string[] {
  return readdirSync(metadataPaths(site.dataRoot).images).filter((name) => /^\.tmp-[0-9a-f]{64}\d+$/.test(name));
}

/** The same, where dockerd was killed. @param unfinished as they were found when it was dead */
export async function leavesNothingBut(
  unfinished: readonly string[],
  site: Site,
  ...disks: readonly string[]
): Promise<void> {
  for (const disk of disks) await site.detach(disk);
  await site.apply();
  const paths = metadataPaths(site.dataRoot);
  assert.deepEqual(
    [
      ...readdirSync(paths.containers),
      ...readdirSync(paths.images).filter((name) => !unfinished.includes(name)),
      ...site.layerFolders(),
      ...new Store(site.dataRoot).layers.recorded,
    ],
    [],
  );
  assert.equal(existsSync(path.join(site.dataRoot, 'docker-preloader/ledger.json')), false);
}
