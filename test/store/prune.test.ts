import assert from 'node:assert/strict';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { torture } from '../support/size.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { tempTree } from '../support/temp-tree.ts';
import { leavesNothing } from './leaves-nothing.ts';
import { archiveOf, image, says, tagsOf, untilTags } from './said-images.ts';
import { makeSite, type Site } from './site.ts';
import { type SiteDaemon, startDaemon } from './site-daemon.ts';

/** What the issue of all this promises. */
const LIMIT_MS = 5000;

let disk: string;

before(async () => {
  const { path: folder } = await tempTree('dpl-prune');
  disk = await makeDisk(
    path.join(folder, 'disk.ext4'),
    await archiveOf(
      image('one', 'app:1', 'app:latest'),
      image('two', 'app:2'),
      image('three', 'host.example:5000/tool:3'),
    ),
  );
});
after(cleanUpAll);

const ALL = ['app:1', 'app:2', 'app:latest', 'host.example:5000/tool:3'];
const idOf = (dockerd: Dockerd, tag: string): Promise<string> =>
  dockerd.cli(['image', 'inspect', '--format', '{{.Id}}', tag]);

for (const version of dockerdVersions) {
  /** What depends on dockerd is tried on each, the rest on the newest. */
  const on = (where: 'each' | 'newest'): boolean =>
    torture || version === '28.5' || (where === 'each' && version === '20.10');

  describe(`dockerd ${version}: what a prune takes`, { skip: !on('each') }, () => {
    let site: Site;
    let daemon: SiteDaemon;
    let dockerd: Dockerd;

    beforeEach(async () => {
      site = await makeSite(version);
      await site.attach(disk);
      await boot();
    });
    afterEach(async () => {
      await daemon.stop();
      await dockerd.kill();
      await site.remove();
    });

    async function boot(): Promise<void> {
      daemon = await startDaemon(site);
      dockerd = await site.start();
      await daemon.follows(dockerd);
    }

    async function prune(...args: readonly string[]): Promise<void> {
      await dockerd.cli(['image', 'prune', '--force', ...(args.length === 0 ? ['--all'] : args)]);
    }

    /** Exactly these are there again, in time; and nothing comes after that. */
    async function back(...tags: readonly string[]): Promise<void> {
      const took = await untilTags(dockerd, ...tags);
      assert.ok(took < LIMIT_MS, `${took} ms`);
      await settled();
      assert.deepEqual(await tagsOf(dockerd), tags.toSorted());
    }

    /** The daemon is done with what dockerd has told it: it holds no lock any more. */
    async function settled(): Promise<void> {
      await delay(700);
      const verified = await site.agent('verify', '--json');
      const { findings } = JSON.parse(verified.stdout) as { findings: readonly { code: string; message: string }[] };
      assert.deepEqual(
        findings.filter(({ code }) => !['STORE_DIFFERS', 'TAG_CONFLICT', 'REMOVED'].includes(code)),
        [],
      );
    }

    async function verifies(): Promise<void> {
      const verified = await site.agent('verify');
      assert.equal(verified.exitCode, 0, verified.all);
    }

    it('is back, runs, and stays over restarts of Docker and boots, until the disk goes', async () => {
      const id = await idOf(dockerd, 'app:1');
      assert.match(await dockerd.cli(['system', 'prune', '--all', '--force']), /reclaimed space: 0B$/);
      await back(...ALL);
      assert.equal(await idOf(dockerd, 'app:1'), id);
      assert.equal(await says(dockerd, 'app:2'), 'two');
      await verifies();
      // And again, as each night.
      await prune();
      await back(...ALL);
      await dockerd.stop();
      await daemon.stop();
      await site.apply();
      dockerd = await site.start();
      assert.equal(await says(dockerd, 'app:1'), 'one');
      await dockerd.stop();
      await boot();
      assert.deepEqual(await tagsOf(dockerd), ALL);
      await verifies();
      await prune();
      await back(...ALL);
      await daemon.stop();
      await dockerd.stop();
      await leavesNothing(site, disk);
    });

    it('is back, and not what `rmi` removed before', async () => {
      await dockerd.cli(['rmi', 'app:1', 'app:2']);
      await prune();
      await back('app:latest', 'host.example:5000/tool:3');
      // Also right before, and with nothing else to prune of an image.
      await dockerd.cli(['rmi', 'app:latest']);
      await prune();
      await back('host.example:5000/tool:3');
      assert.equal(await says(dockerd, 'host.example:5000/tool:3'), 'three');
      await dockerd.stop();
      await daemon.stop();
      await boot();
      assert.deepEqual(await tagsOf(dockerd), ALL);
    });

    it('is back where it begins as soon as Docker has started, and not what `rmi` removed before', async () => {
      await prune();
      await back(...ALL);
      await dockerd.cli(['rmi', 'app:2']);
      // Without a run in between, what was removed is still gone.
      await dockerd.stop();
      dockerd = await site.start();
      await prune();
      const rest = ALL.filter((tag) => tag !== 'app:2');
      await back(...rest);
      await dockerd.stop();
      await site.apply();
      dockerd = await site.start();
      await prune();
      await back(...ALL);
      await daemon.stop();
      await dockerd.stop();
      // At a boot, too.
      daemon = await startDaemon(site);
      dockerd = await site.start();
      await prune();
      await back(...ALL);
    });

    it('is back under names that are free, and the user keeps his', { skip: !on('newest') }, async () => {
      await dockerd.cli(['load'], await archiveOf(image('mine', 'app:2')));
      await dockerd.cli(['create', '--network', 'none', 'app:2']);
      await prune();
      await back(...ALL);
      assert.equal(await says(dockerd, 'app:2'), 'mine');
      await daemon.stop();
      await dockerd.stop();
      await site.detach(disk);
      // Its base is the disk's.
      assert.match((await site.apply(3)).all, /1 layer that container \S+, image app:2 stand on/);
      dockerd = await site.start();
      assert.deepEqual(await tagsOf(dockerd), ['app:2']);
    });

    it("is the user's once he has loaded it himself, and survives the detach", { skip: !on('newest') }, async () => {
      await prune();
      await back(...ALL);
      await dockerd.cli(['load'], await archiveOf(image('one', 'app:1')));
      await dockerd.cli(['rmi', 'app:2']);
      await dockerd.cli(['load'], await archiveOf(image('two', 'app:2')));
      await daemon.stop();
      await dockerd.stop();
      await site.detach(disk);
      assert.match((await site.apply(3)).all, /image app:1, image app:2 stand on/);
      dockerd = await site.start();
      // As ever, a load of an image makes all of its names the user's.
      assert.deepEqual(await tagsOf(dockerd), ['app:1', 'app:2', 'app:latest']);
      await dockerd.stop();
      await site.attach(disk);
      await site.apply();
      dockerd = await site.start();
      assert.equal(await says(dockerd, 'app:1'), 'one');
    });

    it("stays away where nobody was there, and comes with Docker's next start", { skip: !on('newest') }, async () => {
      await daemon.stop('SIGKILL');
      await prune();
      daemon = await startDaemon(site);
      await settled();
      assert.deepEqual(await tagsOf(dockerd), []);
      await dockerd.stop();
      await site.apply();
      dockerd = await site.start();
      await daemon.follows(dockerd);
      assert.deepEqual(await tagsOf(dockerd), ALL);
      // The next dockerd is followed, too.
      await prune();
      await back(...ALL);
    });
  });
}
