import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { apply } from '../../agent/overlay2/apply/apply-steps.ts';
import { DockerStarted, lastStarted } from '../../agent/docker/instance.ts';
import { defaultConfig } from '../../agent/config/config.ts';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { plan } from '../../agent/overlay2/plan/make-plan.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { readDisk } from '../../agent/disk/read-disk.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import { references } from '../boot/fake-store.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { busyboxRoot } from '../support/images.ts';
import { tempTree } from '../support/temp-tree.ts';
import { archiveOf, image } from './said-images.ts';
import { makeSite } from './site.ts';

/**
 * Held up between its plan and its first write, as where the guest's storage hangs: who starts Docker by hand does not
 * wait for it.
 */
describe('a run during which dockerd is started', () => {
  let users: Uint8Array;
  const disks: string[] = [];

  before(async () => {
    const { path: folder } = await tempTree('dpl-started');
    users = await dockerArchive([
      { tags: ['mine:1'], layers: [[...(await busyboxRoot()), { name: 'mine', content: 'mine\n' }]] },
    ]);
    for (const name of ['old', 'new'])
      disks.push(await makeDisk(path.join(folder, `${name}.ext4`), await archiveOf(image(name, `${name}:1`))));
  });
  after(cleanUpAll);

  for (const version of dockerdVersions) {
    it(`replaces and removes nothing by its plan, neither beside a dockerd ${version} nor after it`, async () => {
      const site = await makeSite(version);
      const [old, other] = disks as [string, string];
      await site.attach(old);
      await site.apply();
      await (await site.start()).stop();

      const started = lastStarted(site.dataRoot);
      const disk = {
        content: readDisk(site.labelOf('new'), new FolderReader(path.join(site.mountRoot, site.labelOf('old')))),
        rank: 0,
      };
      const input = { store: new Store(site.dataRoot), ledger: readLedger(site.dataRoot), config: defaultConfig() };
      // One that renames what is there, and one without the disk.
      const plans = [plan({ ...input, disks: [disk] }), plan({ ...input, disks: [] })];
      let dockerd = await site.start();
      await dockerd.cli(['load'], users);
      assert.equal(await dockerd.cli(['run', '--name', 'kept', '--network', 'none', 'old:1', 'cat', '/app']), 'old');
      const refused = (): void => {
        for (const { steps } of plans) assert.throws(() => apply(site.dataRoot, steps, started), DockerStarted);
      };
      refused();
      await dockerd.stop();
      refused();
      assert.deepEqual([...references(site.dataRoot).keys()].toSorted(), ['mine:1', 'old:1']);
      dockerd = await site.start();
      assert.equal(await dockerd.cli(['start', '--attach', 'kept']), 'old');
      assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'mine:1', 'cat', '/mine']), 'mine');
      await dockerd.stop();

      await site.detach(old);
      await site.attach(other);
      await site.apply(3);
      assert.deepEqual([...references(site.dataRoot).keys()].toSorted(), ['mine:1', 'new:1']);
      await site.remove();
    });
  }
});
