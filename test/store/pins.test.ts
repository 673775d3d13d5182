import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { pinName } from '../../agent/docker/layer-folders.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { tempTree } from '../support/temp-tree.ts';
import { leavesNothing } from './leaves-nothing.ts';
import { archiveOf, image, says } from './said-images.ts';
import { makeSite, type Site } from './site.ts';

let disk: string;

before(async () => {
  disk = await makeDisk(
    path.join((await tempTree('dpl-pins')).path, 'disk.ext4'),
    await archiveOf(image('one', 'app:1', 'app:latest'), image('two', 'app:2')),
  );
});
after(cleanUpAll);

const mounts = (site: Site): string[] => readdirSync(metadataPaths(site.dataRoot).containers);

for (const version of dockerdVersions) {
  describe(`dockerd ${version} on pins`, () => {
    it('keeps what is pinned through a prune and a restart, lists nothing of it, and lets a load stand on it', async () => {
      const site = await makeSite(version);
      await site.attach(disk);
      await site.apply();
      const layers = [...new Store(site.dataRoot).layers.recorded].toSorted();
      assert.equal(mounts(site).length, 2);

      let dockerd = await site.start();
      assert.equal(await says(dockerd, 'app:1'), 'one');
      assert.match(await dockerd.cli(['system', 'prune', '--all', '--force']), /Total reclaimed space: 0B$/);
      assert.equal(await dockerd.cli(['images', '--all', '--quiet']), '');
      assert.equal(await dockerd.cli(['ps', '--all', '--quiet']), '');
      assert.match(await dockerd.cli(['system', 'df', '--verbose']), /Containers space usage/);
      assert.deepEqual([...new Store(site.dataRoot).layers.recorded].toSorted(), layers);
      await dockerd.stop();

      // Without the agent, as when its package has gone.
      dockerd = await site.start();
      assert.deepEqual([...new Store(site.dataRoot).layers.recorded].toSorted(), layers);
      await dockerd.cli(['load'], await archiveOf(image('one', 'mine:1')));
      assert.equal(await says(dockerd, 'mine:1'), 'one');
      await dockerd.cli(['rmi', 'mine:1']);
      assert.deepEqual([...new Store(site.dataRoot).layers.recorded].toSorted(), layers);
      await dockerd.stop();

      await site.apply();
      assert.deepEqual(readdirSync(metadataPaths(site.dataRoot).images).length, 2);
      await leavesNothing(site, disk);
      await site.remove();
    });

    it('minds neither one whose layer is not there, nor what a power cut leaves of one', async () => {
      const site = await makeSite(version);
      await site.attach(disk);
      await site.apply();
      const paths = metadataPaths(site.dataRoot);
      const store = new Store(site.dataRoot);
      const [first, second] = store.mounts.pinnedLayers();
      assert.ok(first !== undefined && second !== undefined);
      truncateSync(`${paths.mount(pinName(first))}/parent`, 0);
      truncateSync(`${paths.mount(pinName(second))}/mount-id`, 0);
      const stray = `sha256:${'5'.repeat(64)}` as typeof first;
      mkdirSync(paths.mount(pinName(stray)));
      for (const [file, content] of [
        ['mount-id', pinName(stray)],
        ['parent', stray],
      ] as const)
        writeFileSync(`${paths.mount(pinName(stray))}/${file}`, content);
      mkdirSync(paths.mount('6'.repeat(64)));

      let dockerd = await site.start();
      assert.equal(await says(dockerd, 'app:1'), 'one');
      // These hold nothing, so a prune deletes.
      await dockerd.cli(['system', 'prune', '--all', '--force']);
      assert.deepEqual([...new Store(site.dataRoot).layers.recorded], []);
      await dockerd.cli(['load'], await archiveOf(image('one', 'mine:1')));
      await dockerd.stop();

      // What is the user's by now gets no pin: what he removes of it is deleted.
      await site.apply();
      assert.deepEqual(
        mounts(site).filter((name) => [first, second].some((chain) => name === pinName(chain))).length,
        1,
      );
      dockerd = await site.start();
      assert.equal(await says(dockerd, 'app:2'), 'two');
      await dockerd.cli(['rmi', 'mine:1', 'app:1', 'app:latest']);
      assert.equal(site.layerFolders().length, 3, 'the base layer, that of app:2, and the empty one');
      await dockerd.stop();
      await site.remove();
    });
  });
}
