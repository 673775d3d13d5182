import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../../support/cleanup.ts';
import { dockerdVersions } from '../../support/dockerd-version.ts';
import { ContainerdSite, linksBelow, stepsOf } from './site.ts';

/** What containerd's own client sees of two disks with one base, in turn. */
for (const version of dockerdVersions) {
  describe(`the containerd of dockerd ${version}, by ctr`, () => {
    let site: ContainerdSite;
    const ctr = (...args: readonly string[]): Promise<string> => site.containerd.ctr(['-n', 'default', ...args]);
    const fill = (): ReturnType<ContainerdSite['fill']> => site.fill({ namespaces: ['default'] });

    before(async () => {
      site = await ContainerdSite.make(version);
      await site.attach('a');
      await site.attach('b');
    });
    after(cleanUpAll);

    it('is told by a plan what there is to do, and nothing is done', async () => {
      const { plans, applied, farmChanges } = await site.fill({ namespaces: ['default'], mode: 'plan' });
      assert.equal(applied, false);
      assert.deepEqual(
        plans.map(({ steps }) => steps.filter(({ do: what }) => what === 'make-layer').length),
        [4],
      );
      assert.equal(farmChanges, 4 + 4);
      assert.equal(await ctr('images', 'ls', '-q'), '');
      assert.deepEqual(readdirSync(site.folder).includes('farm'), false);
    });

    it('has the images of both disks, and each layer once', async () => {
      const { findings } = await fill();
      assert.deepEqual(findings, []);
      assert.deepEqual((await ctr('images', 'ls', '-q')).split('\n'), [
        'docker.io/library/app-a:1',
        'docker.io/library/app-b:1',
        'docker.io/library/one:1',
      ]);
      assert.equal((await ctr('snapshots', 'ls')).split('\n').length - 1, 4);
      assert.equal((await ctr('leases', 'ls', '-q')).trim(), '');
    });

    it('finds nothing more to do', async () => {
      const again = await fill();
      assert.deepEqual([stepsOf(again), again.farmChanges], [[], 0]);
    });

    it('runs them: whiteouts and opaque folders are as in the layers', async () => {
      const run = (image: string, command: string): Promise<string> =>
        site.containerd.run('default', `docker.io/library/${image}`, 'sh', '-c', command);
      assert.equal(await run('app-a:1', 'cat /etc/a; ls /data'), 'a\nsub');
      assert.equal(await run('app-b:1', 'cat /etc/b2; ls /data/sub; echo n >/etc/b2; cat /etc/b2'), 'b2\nz\nn');
    });

    it('gives all of an image to whoever exports it', async () => {
      await ctr('images', 'export', `${site.folder}/exported.tar`, 'docker.io/library/app-b:1');
      assert.match(await ctr('images', 'check'), /app-b:1 .*complete \(4\/4\)/);
    });

    it('keeps them through a collection of garbage', async () => {
      await ctr('images', 'tag', 'docker.io/library/one:1', 'other:1');
      await ctr('images', 'rm', '--sync', 'other:1');
      assert.deepEqual(stepsOf(await fill()), []);
    });

    it('has them whole again where the references to their content were pruned', async () => {
      await ctr('content', 'prune', 'references');
      assert.match(await ctr('images', 'check'), /app-b:1 .*incomplete \(1\/4\)/);
      assert.deepEqual(new Set(stepsOf(await fill())), new Set(['link-blob', 'label-content']));
      assert.match(await ctr('images', 'check'), /app-b:1 .*complete \(4\/4\)/);
    });

    it('lets go of what a detached disk had, and of nothing else', async () => {
      await site.detach('b');
      await fill();
      assert.deepEqual((await ctr('images', 'ls', '-q')).split('\n'), ['docker.io/library/app-a:1']);
      assert.equal((await ctr('snapshots', 'ls')).split('\n').length - 1, 2);
    });

    it('has nothing of ours after unlink', async () => {
      await site.fill({ mode: 'unlink', namespaces: ['default'], disks: [] });
      assert.equal(await ctr('images', 'ls', '-q'), '');
      assert.equal((await ctr('snapshots', 'ls')).split('\n').length - 1, 0);
      assert.equal((await ctr('content', 'ls', '-q')).trim(), '');
      assert.deepEqual(await linksBelow(site.folder), []);
      assert.deepEqual(readdirSync(`${site.dataRoot}/docker-preloader`), ['containerd-lock']);
    });
  });
}
