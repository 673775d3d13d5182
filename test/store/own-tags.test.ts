import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type ArchiveImage, dockerArchive, type LayerEntry } from '../support/docker-archive.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { buildImage, busyboxRoot } from '../support/images.ts';
import { tempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';

let base: readonly LayerEntry[];
let folder: string;

before(async () => {
  base = await busyboxRoot();
  folder = (await tempTree('dpl-own-tags')).path;
});
after(cleanUpAll);

/** An image whose file `/app` says which one it is. */
function image(content: string, ...tags: readonly string[]): ArchiveImage {
  return { tags, layers: [base, [{ name: 'app', content: `${content}\n` }]] };
}

async function makeDisk(name: string, ...images: readonly ArchiveImage[]): Promise<string> {
  const disk = path.join(folder, `${name}.ext4`);
  await writeFile(`${disk}.tar`, await dockerArchive(images));
  const { exitCode, all } = await agent(['build', `${disk}.tar`, '-o', disk, '--format', 'raw', '--quiet']);
  assert.equal(exitCode, 0, all);
  return disk;
}

/** Boots: nothing of the boot before is mounted, the agent runs, then what is to be seen is looked at on a dockerd. */
async function boot(site: Site, expected: number, look: (dockerd: Dockerd) => Promise<void>): Promise<string> {
  const { all } = await site.apply(expected);
  const verified = await site.agent('verify');
  assert.equal(verified.exitCode, expected, `verify says as apply: ${verified.all}`);
  const dockerd = await site.start();
  await look(dockerd);
  await dockerd.stop();
  return all;
}

const tagsOf = async (dockerd: Dockerd): Promise<string[]> =>
  (await dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n').filter((tag) => tag !== '').toSorted();
const says = async (dockerd: Dockerd, tag: string): Promise<string> => dockerd.cli(['run', '--rm', '--network', 'none', tag, 'cat', '/app']);

function testsOn(version: DockerdVersion): void {
  describe(`dockerd ${version}: a tag of the user's on an image that a disk has, too`, () => {
    let site: Site;
    beforeEach(async () => {
      site = await makeSite(version);
    });

    it('stays his when the disk goes, and survives a prune', async () => {
      const disk = await makeDisk('same', image('one', 'app:1', 'app:latest'));
      const newer = await makeDisk('newer', image('two', 'app:1', 'app:latest'));
      await boot(site, 0, async (dockerd) => void (await dockerd.cli(['load'], await dockerArchive([image('one', 'app:1')]))));
      await site.attach(disk, 'disk');
      for (let number = 0; number < 2; number += 1) {
        await boot(site, 0, async (dockerd) => assert.deepEqual(await tagsOf(dockerd), ['app:1', 'app:latest']));
      }
      await site.detach('disk');
      await site.attach(newer, 'disk');
      assert.match(await boot(site, 0, async (dockerd) => {
        assert.equal(await says(dockerd, 'app:1'), 'one');
        assert.equal(await says(dockerd, 'app:latest'), 'two');
      }), /app:1: claimed by the user and by disk/);
      await site.detach('disk');
      await boot(site, 0, async (dockerd) => {
        await dockerd.cli(['image', 'prune', '--force']);
        assert.deepEqual(await tagsOf(dockerd), ['app:1']);
        assert.equal(await says(dockerd, 'app:1'), 'one');
      });
      await site.remove();
    });

    it('is what he loaded last, also where a disk had taken it from him', async () => {
      await site.configure({ conflicts: 'disk' });
      const disk = await makeDisk('taker', image('disk', 'app:1'));
      await boot(site, 0, async (dockerd) => void (await dockerd.cli(['load'], await dockerArchive([image('mine', 'app:1')]))));
      await site.attach(disk, 'disk');
      await boot(site, 0, async (dockerd) => {
        assert.equal(await says(dockerd, 'app:1'), 'disk');
        await dockerd.cli(['load'], await dockerArchive([image('disk', 'app:1')]));
      });
      assert.match(await boot(site, 0, async (dockerd) => assert.equal(await says(dockerd, 'app:1'), 'disk')), /app:1: the disk's image was loaded again/);
      // The image stays the user's, and its layer ours: it is kept for him, and works again with the disk.
      await site.detach('disk');
      await boot(site, 3, async (dockerd) => assert.match(await dockerd.cli(['images', '--format', '{{.ID}}', 'app:1']), /^[0-9a-f]{12}$/));
      await site.attach(disk, 'disk');
      await boot(site, 0, async (dockerd) => assert.equal(await says(dockerd, 'app:1'), 'disk'));
      await site.remove();
    });

    it('can be removed with all that he has built on it, also when the disk has gone: dockerd goes on to what it was built from', async () => {
      const disk = await makeDisk('built-on', image('one', 'app:1'));
      await site.attach(disk, 'disk');
      await boot(site, 0, async (dockerd) => void (await buildImage(dockerd, 'built:1', 'FROM app:1\nLABEL a=b\nCOPY file /file\n', 'classic', { file: 'built\n' })));
      await site.detach('disk');
      await boot(site, 3, async (dockerd) => {
        assert.deepEqual(await tagsOf(dockerd), ['built:1']);
        await dockerd.cli(['rmi', 'built:1']);
        assert.equal(await dockerd.cli(['images', '--all', '--quiet']), '');
      });
      await site.remove();
    });
  });
}

for (const version of ['20.10', '28.5'] as const) testsOn(version);
