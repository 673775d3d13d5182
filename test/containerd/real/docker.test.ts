import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../../support/cleanup.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import { buildImage } from '../../support/images.ts';
import { until } from '../../support/until.ts';
import { torture } from '../../support/size.ts';
import { savedLayers } from '../../store/saved-image.ts';
import { madeDisk } from './disks.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

/** dockerds that have their images in containerd, by `features.containerd-snapshotter`. */
const versions = ['26.1', '28.5'] as const;

interface Store {
  readonly site: ContainerdSite;
  readonly dockerd: Dockerd;
  readonly run: (image: string, command: string) => Promise<string>;
  readonly tags: () => Promise<string>;
}

async function storeWith(version: (typeof versions)[number], ...disks: readonly string[]): Promise<Store> {
  const site = await ContainerdSite.make(version);
  for (const name of disks) await site.attach(name);
  assert.deepEqual((await site.fill()).findings, []);
  const dockerd = await site.startDockerd();
  return {
    site,
    dockerd,
    run: (image, command) => dockerd.cli(['run', '--rm', '--network', 'none', image, 'sh', '-c', command]),
    tags: async () => {
      const lines = (await dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n');
      return lines
        .filter((line) => line !== '')
        .toSorted()
        .join(' ');
    },
  };
}

/** Each story on one of the two, in turn; on both with DPL_TORTURE=1. */
const isTried = (version: (typeof versions)[number], number: number): boolean =>
  torture || versions.indexOf(version) === number % 2;

for (const version of versions) {
  describe(`dockerd ${version} with its images in containerd`, () => {
    after(cleanUpAll);

    let number = 0;
    const story = (name: string, live: () => Promise<void>): void => {
      if (isTried(version, number++)) it(name, live);
    };

    story('runs, commits, saves and builds on them as on its own', async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      assert.equal(await tags(), 'app-a:1 app-b:1 one:1');
      assert.equal(await run('app-a:1', 'cat /etc/a; ls /data'), 'a\nsub');
      assert.equal(await run('app-b:1', 'ls /data/sub; echo n >/etc/b2; cat /etc/b2'), 'z\nn');
      assert.equal(await run('app-b:1', 'cat /etc/b2'), 'b2');

      await dockerd.cli([
        'run',
        '--name',
        'one',
        '--network',
        'none',
        'app-a:1',
        'sh',
        '-c',
        'rm /etc/a; echo c >/etc/c',
      ]);
      await dockerd.cli(['commit', 'one', 'committed:1']);
      assert.equal(await run('committed:1', 'test ! -e /etc/a && cat /etc/c'), 'c');
      const [inspected] = JSON.parse(await dockerd.cli(['inspect', 'app-b:1'])) as [{ RootFS: { Layers: string[] } }];
      const saved = await savedLayers(dockerd, 'app-b:1');
      assert.deepEqual(
        saved.map(({ diffId }) => diffId),
        inspected.RootFS.Layers,
      );
      for (const builder of ['classic', 'buildkit'] as const)
        for (const base of ['one:1', 'app-b:1']) {
          await buildImage(dockerd, 'built:1', `FROM ${base}\nRUN rm /data/x && echo n >/etc/n\n`, builder);
          assert.equal(await run('built:1', 'ls /data; cat /etc/n'), 'sub\nn', `${builder} on ${base}`);
        }
      assert.deepEqual(stepsOf(await site.fill()), []);
      await site.remove();
    });

    story('has them after restarts of both, and its containers run on', async () => {
      const { site, dockerd, run } = await storeWith(version, 'a', 'b');
      const live = ['run', '--detach', '--name', 'live', '--network', 'none', '--stop-timeout', '1'];
      await dockerd.cli([...live, 'app-b:1', 'sleep', '1000']);
      await site.containerd.stop();
      await site.startContainerd();
      // dockerd looks for a containerd that was gone after a while only, the longer the more often it looked.
      await until('dockerd to find containerd again', () =>
        dockerd.cli(['exec', 'live', 'true']).then(
          () => true,
          () => false,
        ),
      );
      assert.equal(await dockerd.cli(['exec', 'live', 'cat', '/etc/b2']), 'b2');
      await dockerd.stop();
      const again = await site.startDockerd();
      assert.equal(await run('app-b:1', 'cat /etc/b2'), 'b2');
      assert.deepEqual(stepsOf(await site.fill()), []);
      assert.match(await again.cli(['ps', '--all', '--format', '{{.Names}} {{.Image}}']), /^live app-b:1$/);
      await site.remove();
    });

    story('has what was removed, or pruned, again after the next run', async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      await dockerd.cli(['rmi', 'app-a:1']);
      assert.equal(await tags(), 'app-b:1 one:1');
      await site.fill();
      assert.equal(await tags(), 'app-a:1 app-b:1 one:1');
      await dockerd.cli(['system', 'prune', '--all', '--force']);
      assert.equal(await tags(), '');
      await site.fill();
      assert.equal(await run('app-a:1', 'cat /etc/a'), 'a');
      assert.equal(await run('one:1', 'cat /data/x'), 'x');
      await site.remove();
    });

    story('does not have again what was removed, under `respect`, until the disk has another', async () => {
      const { site, dockerd, tags } = await storeWith(version, 'a', 'b');
      const config = { conflicts: 'user', removedImages: 'respect' } as const;
      await site.fill({ config });
      await dockerd.cli(['rmi', 'app-b:1']);
      for (const _ of [1, 2]) assert.deepEqual(codesOf(await site.fill({ config })), ['TAG_REMOVED']);
      assert.equal(await tags(), 'app-a:1 one:1');
      await site.detach('b');
      await site.fill({ config });
      assert.equal(await tags(), 'app-a:1');
      await site.attach('b2');
      await site.fill({ config });
      assert.equal(await tags(), 'app-a:1 app-b:1');
      await site.remove();
    });

    story("leaves the user's tags of a disk's image to him, when the disk goes", async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      await dockerd.cli(['tag', 'app-a:1', 'keep:1']);
      await dockerd.cli(['tag', 'keep:1', 'one:1']);
      assert.deepEqual(codesOf(await site.fill()), ['TAG_CONFLICT']);
      assert.equal(await run('one:1', 'cat /etc/a'), 'a');
      await site.detach('a');
      await site.detach('b');
      assert.deepEqual(codesOf(await site.fill()), ['KEPT', 'KEPT']);
      assert.equal(await tags(), 'keep:1 one:1');
      await site.attach('a', { place: 'elsewhere' });
      assert.deepEqual(codesOf(await site.fill()), []);
      assert.equal(await run('keep:1', 'cat /etc/a'), 'a');
      await site.remove();
    });

    story("takes an image that is loaded over a disk's for the user's", async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      const { archive } = await madeDisk('user');
      await dockerd.cli(['load', '--input', archive]);
      for (const _ of [1, 2]) assert.deepEqual(codesOf(await site.fill()), ['TAG_CONFLICT']);
      assert.equal(await run('app-a:1', 'cat /etc/users'), 'users');
      await site.detach('a');
      await site.fill();
      assert.equal(await run('app-a:1', 'cat /etc/users'), 'users');
      assert.match(await tags(), /app-a:1 app-b:1 mine:1 one:1$/);
      await site.remove();
    });

    story('takes the very image, where it was loaded again, for his, too', async () => {
      const { site, dockerd, tags } = await storeWith(version, 'a', 'b');
      await dockerd.cli(['save', '--output', `${site.folder}/saved.tar`, 'app-b:1']);
      await dockerd.cli(['load', '--input', `${site.folder}/saved.tar`]);
      // dockerd 28.5 leaves the record that was there before under a name of its own, labels and all.
      assert.deepEqual(stepsOf(await site.fill()), version === '28.5' ? ['delete-image'] : []);
      assert.equal(await tags(), 'app-a:1 app-b:1 one:1');
      assert.deepEqual(stepsOf(await site.fill()), []);
      await site.detach('b');
      assert.deepEqual(codesOf(await site.fill()), ['KEPT']);
      assert.equal(await tags(), 'app-a:1 app-b:1');
      await site.remove();
    });

    story('keeps what containers and images of his stand on, without its disk, and runs it again with it', async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      await dockerd.cli(['create', '--name', 'keep', '--network', 'none', 'app-b:1', 'cat', '/etc/b2']);
      await buildImage(dockerd, 'built:1', 'FROM app-a:1\nRUN echo n >/etc/n\n', 'classic');
      await site.detach('a');
      await site.detach('b');
      for (const _ of [1, 2]) {
        const { findings } = await site.fill();
        assert.deepEqual(
          findings.map(({ code }) => code),
          ['KEPT', 'KEPT'],
        );
        const told = findings.map(({ message }) => message).join('\n');
        assert.match(told, /3 layers that container [0-9a-f]{12}, image docker\.io\/library\/built:1 stand on/);
        assert.match(told, /1 layer that image docker\.io\/library\/built:1 stands on/);
      }
      assert.equal(await tags(), 'app-b:1 built:1');
      await assert.rejects(dockerd.cli(['start', '--attach', 'keep']));
      await site.attach('b', { place: 'another' });
      await site.attach('a', { place: 'b' });
      assert.deepEqual(codesOf(await site.fill()), []);
      assert.equal(await dockerd.cli(['start', '--attach', 'keep']), 'b2');
      assert.equal(await run('built:1', 'cat /etc/a /etc/n'), 'a\nn');
      assert.equal(await tags(), 'app-a:1 app-b:1 built:1 one:1');
      await site.remove();
    });

    story('follows a newer disk, and keeps the older image for a container', async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      await dockerd.cli(['create', '--name', 'old', '--network', 'none', 'app-b:1', 'cat', '/etc/b2']);
      await site.detach('b');
      await site.attach('b2');
      assert.deepEqual(codesOf(await site.fill()), ['KEPT']);
      assert.equal(await run('app-b:1', 'cat /etc/b-new'), 'b-new');
      assert.equal(await tags(), '<none>:<none> app-a:1 app-b:1');
      await dockerd.cli(['rm', 'old']);
      await site.fill();
      assert.equal(await tags(), 'app-a:1 app-b:1');
      assert.deepEqual(stepsOf(await site.fill()), []);
      await site.remove();
    });

    story('gives a disk the tag of the user, under `conflicts: disk`, and him his image back', async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'b');
      const config = { conflicts: 'disk', removedImages: 'restore' } as const;
      const { archive } = await madeDisk('user');
      await dockerd.cli(['load', '--input', archive]);
      const his = await dockerd.cli(['inspect', '--format', '{{.Id}}', 'app-a:1']);
      await site.attach('a');
      const taken = await site.fill({ config });
      assert.deepEqual(codesOf(taken), ['TAG_CONFLICT']);
      assert.match(taken.findings[0]?.message ?? '', /claimed by the user and by disk dpl-a; disk dpl-a takes it/);
      assert.equal(await run('app-a:1', 'cat /etc/a'), 'a');
      assert.deepEqual(stepsOf(await site.fill({ config })), []);
      assert.equal(await run(his, 'cat /etc/users'), 'users');
      await site.detach('a');
      await site.fill({ config });
      assert.equal(await dockerd.cli(['inspect', '--format', '{{.Id}}', 'app-a:1']), his);
      assert.equal(await tags(), 'app-a:1 app-b:1 mine:1 one:1');
      await site.remove();
    });

    story('has all of the user, and nothing else, after unlink', async () => {
      const { site, dockerd, run, tags } = await storeWith(version, 'a', 'b');
      await dockerd.cli(['load', '--input', (await madeDisk('user')).archive]);
      await dockerd.cli(['create', '--name', 'keep', '--network', 'none', 'app-b:1', 'sh']);
      assert.deepEqual(new Set(codesOf(await site.fill({ mode: 'unlink', disks: [] }))), new Set(['KEPT']));
      assert.match(await tags(), /app-a:1 app-b:1 mine:1$/);
      // What the container has below it is still linked to the disk, and nothing else.
      const links = await linksBelow(site.folder);
      const ofFarm = links.filter((line) => /^(layers|blobs)/.test(line));
      assert.equal(ofFarm.length, 3 + 3);
      for (const line of ofFarm)
        assert.ok(
          links.some((other) => other.endsWith(`farm/${line.split(' ')[0]}`)),
          line,
        );
      assert.equal(await dockerd.cli(['start', '--attach', 'keep']), '');
      await dockerd.cli(['rm', 'keep']);
      await dockerd.cli(['image', 'prune', '--force']);
      // His own `app-a:1` has the disks' base under it.
      assert.deepEqual(codesOf(await site.fill({ mode: 'unlink', disks: [] })), ['KEPT']);
      assert.equal(await tags(), 'app-a:1 mine:1');
      assert.equal(await run('mine:1', 'cat /mine'), 'mine');
      await dockerd.cli(['system', 'prune', '--all', '--force']);
      assert.deepEqual(codesOf(await site.fill({ mode: 'unlink', disks: [] })), []);
      assert.deepEqual(await linksBelow(site.folder), []);
      await site.remove();
    });
  });
}
