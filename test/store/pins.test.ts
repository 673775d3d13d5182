import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { pinName } from '../../agent/docker/overlay2.ts';
import { Store } from '../../agent/docker/store.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type ArchiveImage, dockerArchive, type LayerEntry } from '../support/docker-archive.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { busyboxRoot } from '../support/images.ts';
import { tempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';

let base: readonly LayerEntry[];
let disk: string;

before(async () => {
  base = await busyboxRoot();
  disk = path.join((await tempTree('dpl-pins')).path, 'disk.ext4');
  await writeFile(`${disk}.tar`, await dockerArchive([image('one', 'app:1', 'app:latest'), image('two', 'app:2')]));
  const { exitCode, all } = await agent(['build', `${disk}.tar`, '-o', disk, '--format', 'raw', '--quiet']);
  assert.equal(exitCode, 0, all);
});
after(cleanUpAll);

function image(content: string, ...tags: readonly string[]): ArchiveImage {
  return { tags, layers: [base, [{ name: 'app', content: `${content}\n` }]] };
}

const run = (dockerd: Dockerd, tag: string): Promise<string> => dockerd.cli(['run', '--rm', '--network', 'none', tag, 'cat', '/app']);
const mounts = (site: Site): string[] => readdirSync(metadataPaths(site.dataRoot).containers);

for (const version of dockerdVersions) {
  describe(`dockerd ${version} on pins`, () => {
    it('keeps what is pinned through a prune and a restart, lists nothing of it, and lets a load stand on it', async () => {
      const site = await makeSite(version);
      await site.attach(disk);
      await site.apply();
      const layers = [...new Store(site.dataRoot).layers].toSorted();
      assert.equal(mounts(site).length, 2);

      let dockerd = await site.start();
      assert.equal(await run(dockerd, 'app:1'), 'one');
      assert.match(await dockerd.cli(['system', 'prune', '--all', '--force']), /Total reclaimed space: 0B$/);
      assert.equal(await dockerd.cli(['images', '--all', '--quiet']), '');
      assert.equal(await dockerd.cli(['ps', '--all', '--quiet']), '');
      assert.match(await dockerd.cli(['system', 'df', '--verbose']), /Containers space usage/);
      assert.deepEqual([...new Store(site.dataRoot).layers].toSorted(), layers);
      await dockerd.stop();

      // Without the agent, as when its package has gone.
      dockerd = await site.start();
      assert.deepEqual([...new Store(site.dataRoot).layers].toSorted(), layers);
      await dockerd.cli(['load'], await dockerArchive([image('one', 'mine:1')]));
      assert.equal(await run(dockerd, 'mine:1'), 'one');
      await dockerd.cli(['rmi', 'mine:1']);
      assert.deepEqual([...new Store(site.dataRoot).layers].toSorted(), layers);
      await dockerd.stop();

      await site.apply();
      assert.deepEqual(readdirSync(metadataPaths(site.dataRoot).images).length, 2);
      await site.detach(disk);
      await site.apply();
      assert.deepEqual([...mounts(site), ...site.layerFolders()], []);
      await site.remove();
    });

    it('minds neither one whose layer is not there, nor what a power cut leaves of one', async () => {
      const site = await makeSite(version);
      await site.attach(disk);
      await site.apply();
      const paths = metadataPaths(site.dataRoot);
      const store = new Store(site.dataRoot);
      const [first, second] = store.pinnedLayers();
      assert.ok(first !== undefined && second !== undefined);
      truncateSync(`${paths.mount(pinName(first))}/parent`, 0);
      truncateSync(`${paths.mount(pinName(second))}/mount-id`, 0);
      const stray = `sha256:${'5'.repeat(64)}` as typeof first;
      mkdirSync(paths.mount(pinName(stray)));
      for (const [file, content] of [['mount-id', pinName(stray)], ['parent', stray]] as const) writeFileSync(`${paths.mount(pinName(stray))}/${file}`, content);
      mkdirSync(paths.mount('6'.repeat(64)));

      let dockerd = await site.start();
      assert.equal(await run(dockerd, 'app:1'), 'one');
      // These hold nothing, so a prune deletes.
      await dockerd.cli(['system', 'prune', '--all', '--force']);
      assert.deepEqual([...new Store(site.dataRoot).layers], []);
      await dockerd.cli(['load'], await dockerArchive([image('one', 'mine:1')]));
      await dockerd.stop();

      // What is the user's by now gets no pin: what he removes of it is deleted.
      await site.apply();
      assert.deepEqual(mounts(site).filter((name) => [first, second].some((chain) => name === pinName(chain))).length, 1);
      dockerd = await site.start();
      assert.equal(await run(dockerd, 'app:2'), 'two');
      await dockerd.cli(['rmi', 'mine:1', 'app:1', 'app:latest']);
      assert.equal(site.layerFolders().length, 3, 'the base layer, that of app:2, and the empty one');
      await dockerd.stop();
      await site.remove();
    });
  });
}
