import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import type { Site } from './site.ts';

/** With its last disks goes all that is ours, where nothing is the user's. @param disks as they were attached; neither dockerd nor the agent runs */
export async function leavesNothing(site: Site, ...disks: readonly string[]): Promise<void> {
  for (const disk of disks) await site.detach(disk);
  await site.apply();
  const paths = metadataPaths(site.dataRoot);
  assert.deepEqual(
    [
      ...readdirSync(paths.containers),
      ...readdirSync(paths.images),
      ...site.layerFolders(),
      ...new Store(site.dataRoot).layers.recorded,
    ],
    [],
  );
  assert.equal(existsSync(path.join(site.dataRoot, 'docker-preloader/ledger.json')), false);
}
