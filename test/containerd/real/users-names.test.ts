import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { cleanUpAll } from '../../support/cleanup.ts';
import { makeDisk } from '../../support/disk.ts';
import { dockerArchive } from '../../support/docker-archive.ts';
import { startRegistry } from '../../support/registry.ts';
import { torture } from '../../support/size.ts';
import { madeDisk } from './disks.ts';
import { codesOf, ContainerdSite, linksBelow } from './site.ts';

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

    it("of an image on a base of his, with a disk's layer on it, is named while that has its bytes from a disk that is gone", async () => {
      const registry = await startRegistry(`${site.folder}/registry`);
      const at = (name: string): string => `${registry.address}/library/${name}:1`;
      const shared = [{ name: 'shared', content: 'shared\n' }];
      const archive = (name: string, base: string): Promise<Uint8Array> =>
        dockerArchive([{ tags: [name], layers: [[{ name: base, content: base }], shared] }]);
      for (const name of ['his', 'next']) {
        await site.dockerd?.cli(['load', '--quiet'], await archive(at(name), name));
        await docker('push', at(name));
        await docker('rmi', at(name));
      }
      await docker('system', 'prune', '--all', '--force');
      const disk = `${site.folder}/shared.ext4`;
      await makeDisk(disk, await archive('of-disk:1', 'disk'), '--label', 'dpl-shared', '--blobs', 'tar');
      await site.attachFile(disk, 'shared');
      await site.fill();
      await docker('pull', at('his'));
      assert.deepEqual(codesOf(await site.fill()), []);
      await site.detach('shared');
      for (const mode of ['apply', 'unlink'] as const) {
        const { findings } = await site.fill({ mode, disks: [] });
        assert.deepEqual(
          findings.map(({ code, label }) => [code, label]),
          [['KEPT', 'dpl-shared']],
        );
        assert.match(findings[0]?.message ?? '', /(?=.*1 blob).*image 127\.0\.0\.1:\d+\/library\/his:1/);
      }
      await assert.rejects(docker('pull', at('next')), /not found/);
      await docker('rmi', at('his'));
      await docker('pull', at('next'));
      assert.deepEqual([codesOf(await site.fill()), await linksBelow(site.folder)], [[], []]);
      await registry.stop();
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
