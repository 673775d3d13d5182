import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { buildImage } from '../support/images.ts';
import { tempTree } from '../support/temp-tree.ts';
import { archiveOf, image, type SaidImage, says, tagsOf } from './said-images.ts';
import { makeSite, type Site } from './site.ts';

let folder: string;

before(async () => {
  folder = (await tempTree('dpl-own-tags')).path;
});
after(cleanUpAll);

const diskOf = async (name: string, ...images: readonly SaidImage[]): Promise<string> =>
  makeDisk(path.join(folder, `${name}.ext4`), await archiveOf(...images));

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

function testsOn(version: DockerdVersion): void {
  describe(`dockerd ${version}: a tag of the user's on an image that a disk has, too`, () => {
    let site: Site;
    beforeEach(async () => {
      site = await makeSite(version);
    });

    it('stays his when the disk goes, and survives a prune', async () => {
      const disk = await diskOf('same', image('one', 'app:1', 'app:latest'));
      const newer = await diskOf('newer', image('two', 'app:1', 'app:latest'));
      await boot(
        site,
        0,
        async (dockerd) => void (await dockerd.cli(['load'], await archiveOf(image('one', 'app:1')))),
      );
      await site.attach(disk, 'disk');
      for (let number = 0; number < 2; number += 1) {
        await boot(site, 0, async (dockerd) => assert.deepEqual(await tagsOf(dockerd), ['app:1', 'app:latest']));
      }
      await site.detach('disk');
      await site.attach(newer, 'disk');
      assert.match(
        await boot(site, 0, async (dockerd) => {
          assert.equal(await says(dockerd, 'app:1'), 'one');
          assert.equal(await says(dockerd, 'app:latest'), 'two');
        }),
        /app:1: claimed by the user and by disk/,
      );
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
      const disk = await diskOf('taker', image('disk', 'app:1'));
      await boot(
        site,
        0,
        async (dockerd) => void (await dockerd.cli(['load'], await archiveOf(image('mine', 'app:1')))),
      );
      await site.attach(disk, 'disk');
      await boot(site, 0, async (dockerd) => {
        assert.equal(await says(dockerd, 'app:1'), 'disk');
        await dockerd.cli(['load'], await archiveOf(image('disk', 'app:1')));
      });
      assert.match(
        await boot(site, 0, async (dockerd) => assert.equal(await says(dockerd, 'app:1'), 'disk')),
        /app:1: the disk's image was loaded again/,
      );
      // The image stays the user's, and its layer ours: it is kept for him, and works again with the disk.
      await site.detach('disk');
      await boot(site, 3, async (dockerd) =>
        assert.match(await dockerd.cli(['images', '--format', '{{.ID}}', 'app:1']), /^[0-9a-f]{12}$/),
      );
      await site.attach(disk, 'disk');
      await boot(site, 0, async (dockerd) => assert.equal(await says(dockerd, 'app:1'), 'disk'));
      await site.remove();
    });

    it('can be removed with all that he has built on it, also when the disk has gone: dockerd goes on to what it was built from', async () => {
      const disk = await diskOf('built-on', image('one', 'app:1'));
      await site.attach(disk, 'disk');
      await boot(
        site,
        0,
        async (dockerd) =>
          void (await buildImage(dockerd, 'built:1', 'FROM app:1\nLABEL a=b\nCOPY file /file\n', 'classic', {
            file: 'built\n',
          })),
      );
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
