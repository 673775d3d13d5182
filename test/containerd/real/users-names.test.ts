import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { cleanUpAll } from '../../support/cleanup.ts';
import { torture } from '../../support/size.ts';
import { madeDisk } from './disks.ts';
import { ContainerdSite } from './site.ts';

/** Names that the user gives in ways of Docker's that leave what a disk's name leaves, or while a run is under way. */
for (const version of torture ? (['26.1', '28.5'] as const) : (['26.1'] as const))
  describe(`dockerd ${version} with its images in containerd: a name that the user gives`, () => {
    let site: ContainerdSite;
    const docker = (...args: readonly string[]): Promise<string> => site.dockerd?.cli(args) ?? assert.fail();
    const tags = async (): Promise<ReadonlyMap<string, string>> =>
      new Map(
        (await site.containerd.ctr(['-n', 'moby', 'images', 'ls'])).split('\n').flatMap((line) => {
          const [name = '', , digest = ''] = line.split(/\s+/);
          return name.includes('@') ? [] : [[name.replace('docker.io/library/', ''), digest] as const];
        }),
      );

    beforeEach(async () => {
      site = await ContainerdSite.make(version);
      const dockerd = await site.startDockerd();
      await dockerd.cli(['load', '--quiet'], await readFile((await madeDisk('user')).archive));
    });
    afterEach(() => site.remove());
    after(cleanUpAll);

    for (const newer of ['b2', undefined])
      it(`in the place of a disk's, while ${newer === undefined ? 'that goes' : 'its image is replaced'}, is his`, async () => {
        await site.attach('b');
        await site.fill();
        await site.detach('b');
        if (newer !== undefined) await site.attach(newer);
        await site.attach('deep');
        const filled = site.fill();
        await new Promise((resolve) => setTimeout(resolve, 200));
        await docker('tag', 'mine:1', 'app-b:1');
        await filled;
        const now = await tags();
        assert.equal(now.get('app-b:1'), now.get('mine:1'));
        assert.ok(now.has('deep:1'));
      });

    it("that he had moved away, back to the disk's image, is his", async () => {
      await site.attach('b');
      await site.fill();
      await docker('tag', 'one:1', 'keep:1');
      await docker('rmi', 'one:1');
      await docker('tag', 'keep:1', 'one:1');
      await site.detach('b');
      await site.fill();
      assert.deepEqual([...(await tags()).keys()].toSorted().slice(1), ['app-a:1', 'keep:1', 'mine:1', 'one:1']);
    });
  });
