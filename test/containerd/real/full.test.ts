import assert from 'node:assert/strict';
import { closeSync, openSync, statfsSync, writeSync } from 'node:fs';
import { mkdir, rm, truncate } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { roomOf } from '../../../agent/overlay2/plan/room.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { mountNew } from '../../support/filesystem.ts';
import { torture } from '../../support/size.ts';
import { madeDisk } from './disks.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

const MB = 1_000_000;
/** Every n-th call; all of them in torture. */
const STRIDE = torture ? 1 : 29;

/** Its images are on a filesystem of their own, which fills up. */
async function siteOf(version: ContainerdSite['version'], sizeBytes: number): Promise<ContainerdSite> {
  return ContainerdSite.make(version, '', {
    before: async (folder) => {
      const root = path.join(folder, 'containerd');
      await mkdir(root);
      const mkfs = ['mke2fs', '-q', '-t', 'ext4', '-m', '0', '-b', '4096'] as const;
      await mountNew(path.join(folder, 'containerd.ext4'), sizeBytes, mkfs, root);
    },
  });
}

const fillerOf = ({ containerd }: ContainerdSite): string => path.join(containerd.root, 'filler');

/** Leaves so much of what may be written beside what is kept for containers. */
function leave(site: ContainerdSite, bytes: number): void {
  assert.ok(statfsSync(site.containerd.root).blocks * 4096 < 1000 * MB, 'the filesystem that was made for it');
  const fd = openSync(fillerOf(site), 'a');
  for (const piece = Buffer.alloc(4096, 1); roomOf(site.containerd.root).bytes > bytes;) writeSync(fd, piece);
  closeSync(fd);
}

for (const version of torture ? (['20.10', '26.1', '28.5'] as const) : (['28.5'] as const))
  describe(`the containerd of dockerd ${version} on a filesystem with little room`, () => {
    const ctr = (site: ContainerdSite, ...args: readonly string[]): Promise<string> =>
      site.containerd.ctr(['-n', 'moby', ...args]);
    const names = async (site: ContainerdSite): Promise<string> =>
      (await ctr(site, 'images', 'ls', '-q')).replaceAll('docker.io/library/', '').split('\n').join(' ');
    const mine = (site: ContainerdSite): Promise<string> =>
      site.containerd.run('moby', 'docker.io/library/mine:1', 'cat', '/mine');
    let archive: string;
    before(async () => {
      ({ archive } = await madeDisk('user'));
    });
    after(cleanUpAll);

    it('gets as many images as fit, says of each other why not, and gets them when there is room', async () => {
      const site = await siteOf(version, 60 * MB);
      await ctr(site, 'images', 'import', archive);
      await site.attach('store');
      for (const [bytes, expected] of [
        [0, []],
        // What is not of one image needs 32 kB at first, base:1 and side:1 69 kB each, the next one 139 kB.
        [135_000, ['base:1']],
        [160_000, ['base:1', 'side:1']],
      ] as const) {
        await rm(fillerOf(site), { force: true });
        // What an import or a container has left over is collected now: later, it would free room that is counted
        // already.
        await ctr(site, 'images', 'tag', 'docker.io/library/mine:1', 'other:1');
        await ctr(site, 'images', 'rm', '--sync', 'other:1');
        leave(site, bytes);
        const { findings } = await site.fill();
        const there = (await names(site)).split(' ').filter((name) => !/^(app-a|mine):1$/.test(name));
        assert.deepEqual(there, expected, `${bytes}`);
        const missing = ['base:1', 'multi:1', 'side:1', 'twelve:1'].filter((name) => !there.includes(name));
        assert.deepEqual(
          findings.map(({ code, image }) => `${code} ${image ?? ''}`).toSorted(),
          missing.map((name) => `STORE_FULL ${name}`),
        );
        assert.match(
          findings[0]?.message ?? '',
          /expected \d+ kB free in \S+content, found \d+ kB beside what is kept/,
        );
        // There is room for containers.
        assert.equal(await mine(site), 'mine');
      }
      await rm(fillerOf(site));
      assert.deepEqual(codesOf(await site.fill()), []);
      assert.equal(await names(site), 'app-a:1 base:1 mine:1 multi:1 side:1 twelve:1');
      // A detached disk's images go also where there is no room.
      leave(site, 0);
      await site.detach('store');
      assert.deepEqual(codesOf(await site.fill()), []);
      assert.equal(await names(site), 'app-a:1 mine:1');
      assert.deepEqual((await linksBelow(site.folder)).length, 0);
      await site.remove();
    });

    it('loses nothing of the user where it gets full during a run, says so, and has all when there is room', async () => {
      const site = await siteOf(version, 60 * MB);
      await ctr(site, 'images', 'import', archive);
      let full = 0;
      for (let at = 1; ; at += STRIDE) {
        await ctr(site, 'images', 'rm', 'docker.io/library/app-a:1');
        for (const name of ['a', 'b']) await site.attach(name);
        const said = await site.fullFill(at, fillerOf(site));
        const isReached = await truncate(fillerOf(site)).then(
          () => true,
          () => false,
        );
        if (said !== '') {
          full += 1;
          assert.match(said, /: no space left.*what was there before is still there; free some room/, `at call ${at}`);
          assert.match(said, /code: 'STORE_FULL'/, `at call ${at}`);
        }
        // All of the user's is there, also after a restart on what was written.
        if (full % 4 === 1) {
          await site.containerd.kill();
          await site.startContainerd();
        }
        assert.match(await ctr(site, 'images', 'check'), /mine:1 .*complete/, `at call ${at}`);
        assert.equal(await mine(site), 'mine');
        const run = await site.fill();
        assert.deepEqual(codesOf(run), [], `at call ${at}: ${JSON.stringify(run.findings)}`);
        assert.deepEqual(stepsOf(await site.fill()), [], `at call ${at}`);
        assert.equal(await names(site), 'app-a:1 app-b:1 mine:1 one:1', `at call ${at}`);
        assert.equal((await ctr(site, 'leases', 'ls', '-q')).trim(), '', `at call ${at}`);
        const image = 'docker.io/library/app-b:1';
        assert.equal(await site.containerd.run('moby', image, 'cat', '/etc/b2'), 'b2', `at call ${at}`);
        for (const name of ['a', 'b']) await site.detach(name);
        await site.fill({ mode: 'unlink', disks: [] });
        assert.deepEqual(await linksBelow(site.folder), [], `at call ${at}`);
        await ctr(site, 'images', 'import', archive);
        if (!isReached) break;
        await rm(fillerOf(site));
      }
      assert.ok(full >= (torture ? 20 : 1), `expected more, found ${full}`);
      await site.remove();
    });
  });
