import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Containerd } from '../../../agent/containerd/api/containerd-api.ts';
import type { ContainerdFill } from '../../../agent/containerd/fill-containerd.ts';
import { fillFarm } from '../../../agent/containerd/namespace-offer.ts';
import { readPresent, readRoots } from '../../../agent/containerd/namespace-present.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { dockerdVersions } from '../../support/dockerd-version.ts';
import { until } from '../../support/until.ts';
import { madeDisk } from './disks.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

const namesIn = async (site: ContainerdSite, namespace: string): Promise<string[]> =>
  (await site.containerd.ctr(['-n', namespace, 'images', 'ls', '-q'])).split('\n').filter((name) => name !== '');

for (const version of dockerdVersions)
  describe(`namespaces of the containerd of dockerd ${version}`, () => {
    after(cleanUpAll);

    it('has images in several, and lets go of them in one that is no longer configured', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a');
      const namespaces = ['moby', 'k8s.io', 'default'];
      assert.deepEqual((await site.fill({ namespaces })).findings, []);
      assert.deepEqual(stepsOf(await site.fill({ namespaces })), []);
      for (const name of namespaces) {
        assert.equal(await site.containerd.run(name, 'docker.io/library/app-a:1', 'cat', '/etc/a'), 'a', name);
      }
      await site.fill({ namespaces: ['moby'] });
      assert.deepEqual([await namesIn(site, 'default'), await namesIn(site, 'k8s.io')], [[], []]);
      assert.deepEqual(await namesIn(site, 'moby'), ['docker.io/library/app-a:1']);
      await site.remove();
    });

    it('has three names for an image in that of Kubernetes, all of them pinned', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('b');
      const namespaces = ['k8s.io'];
      const fill = () => site.fill({ namespaces });
      await fill();
      const lines = (await site.containerd.ctr(['-n', 'k8s.io', 'images', 'ls'])).split('\n').slice(1);
      assert.equal(lines.length, 6);
      for (const line of lines)
        assert.match(line, /io\.cri-containerd\.image=managed.*io\.cri-containerd\.pinned=pinned/);
      const [first = ''] = (await namesIn(site, 'k8s.io')).filter((name) => name.startsWith('sha256:'));
      await site.containerd.ctr(['-n', 'k8s.io', 'images', 'rm', first]);
      assert.deepEqual(stepsOf(await fill()), ['create-image']);
      // His own under a further name, as the CRI plugin makes it, is no conflict.
      await site.containerd.ctr(['-n', 'k8s.io', 'images', 'import', (await madeDisk('user')).archive]);
      await site.containerd.ctr(['-n', 'k8s.io', 'images', 'rm', first]);
      await site.containerd.ctr(['-n', 'k8s.io', 'images', 'tag', 'docker.io/library/mine:1', first]);
      const other = await fill();
      assert.deepEqual([codesOf(other), stepsOf(other)], [[], []]);
      await site.detach('b');
      await fill();
      assert.deepEqual(
        new Set(await namesIn(site, 'k8s.io')),
        new Set([first, 'docker.io/library/app-a:1', 'docker.io/library/mine:1']),
      );
      await site.remove();
    });

    it('runs images without the bytes of their layers, where the disk has none, or content is not shared', async () => {
      const sites = [
        await ContainerdSite.make(version),
        await ContainerdSite.make(
          version,
          '[plugins."io.containerd.metadata.v1.bolt"]\n  content_sharing_policy = "isolated"\n',
        ),
      ];
      for (const [index, form] of (['none', 'gzip'] as const).entries()) {
        const site = sites[index];
        assert.ok(site);
        await site.attach('a', { form });
        assert.deepEqual(codesOf(await site.fill()), ['LAYERS_UNLINKED']);
        assert.deepEqual(stepsOf(await site.fill()), []);
        assert.equal(await site.containerd.run('moby', 'docker.io/library/app-a:1', 'cat', '/etc/a'), 'a');
        await site.remove();
      }
    });

    it("keeps and tells of a user's content in any namespace that has its bytes on a disk alone", async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a', { form: 'tar' });
      await site.fill();
      // What is there already is not written once more, and has no label of ours.
      const ctr = (args: readonly string[]): Promise<string> => site.containerd.ctr(args);
      await ctr(['-n', 'other', 'images', 'import', '--no-unpack', (await madeDisk('a')).archive]);
      const blobs = (await linksBelow(site.folder)).flatMap((line) => /\/blobs\/sha256\/(\S+) /.exec(line)?.[1] ?? []);
      assert.equal(blobs.length, 2);
      const read = (): Promise<string[]> =>
        Promise.all(blobs.map((hex) => ctr(['-n', 'other', 'content', 'get', `sha256:${hex}`])));
      const before = await read();

      const messagesOf = ({ findings }: ContainerdFill): string[] => findings.map(({ message }) => message);
      assert.deepEqual(messagesOf(await site.fill({ mode: 'unlink', disks: [] })), [
        '2 blobs of disk a stay in namespace other of containerd, since image docker.io/library/app-a:1 stands on them; ' +
          'to let go of them, remove what stands there',
      ]);
      assert.deepEqual(await read(), before);
      for (const mode of ['apply', 'plan'] as const)
        assert.match(
          messagesOf(await site.fill({ mode, disks: [] })).join(),
          /^no disk has 2 blobs any more that image docker\.io\/library\/app-a:1 stands on in namespace other of containerd: it is incomplete, /,
        );
      await assert.rejects(read());
      assert.deepEqual(messagesOf(await site.fill()), []);
      assert.deepEqual(await read(), before);
      await ctr(['-n', 'other', 'images', 'rm', '--sync', 'docker.io/library/app-a:1']);
      // An image of ours without blobs is told of as such.
      await site.detach('a');
      await site.attach('a', { form: 'none' });
      assert.deepEqual(codesOf(await site.fill()), ['LAYERS_UNLINKED']);
      assert.deepEqual(messagesOf(await site.fill({ mode: 'unlink', disks: [] })), []);
      assert.deepEqual(await linksBelow(site.folder), []);
      await site.remove();
    });

    it('has nothing left of what was removed right before it is taken out', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a', { form: 'tar' });
      await site.fill({ namespaces: ['default'] });
      const { archive } = await madeDisk('a');
      await site.containerd.ctr(['-n', 'other', 'images', 'import', '--no-unpack', archive]);
      // ctr does not wait for the collection.
      for (const name of ['default', 'other'])
        await site.containerd.ctr(['-n', name, 'images', 'rm', 'docker.io/library/app-a:1']);
      assert.deepEqual((await site.fill({ namespaces: ['default'], mode: 'unlink', disks: [] })).findings, []);
      // Where a collection was under way, files go after their records.
      await until('no link is left', async () => (await linksBelow(site.folder)).length === 0);
      await site.remove();
    });

    it('has nothing left of what is collected between the list of it and the look at its links', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a');
      await site.fill();
      const containerd = await Containerd.open(site.containerd.address, 10_000);
      const namespace = containerd.namespace('moby');
      const roots = await readRoots(containerd);
      const before = await readPresent(namespace, roots);
      assert.ok([...before.content.values()].some(({ own }) => own !== undefined) && before.snapshots.size > 0);
      let isCollected: Promise<unknown> | undefined;
      const collect = async <Listed>(list: Promise<Listed>): Promise<Listed> => {
        const listed = await list;
        await (isCollected ??= site.containerd.ctr([
          '-n',
          'moby',
          'images',
          'rm',
          '--sync',
          'docker.io/library/app-a:1',
        ]));
        return listed;
      };
      const collected = new Proxy(namespace, {
        get: (target, key) => {
          if (key === 'content') return () => collect(target.content());
          if (key === 'snapshots') return () => collect(target.snapshots());
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      const { content, snapshots } = await readPresent(collected, roots);
      containerd.close();
      // What has no link of ours may be listed still: no step is made of it.
      assert.deepEqual(
        [...content.values(), ...snapshots.values()].filter(({ own }) => own !== undefined),
        [],
      );
      await site.remove();
    });

    it('has its links lead to the right place before it starts', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a');
      await site.attach('b');
      await site.fill();
      const before = (await linksBelow(site.folder)).filter((line) => !/^(layers|blobs)/.test(line));
      await site.containerd.stop();
      await site.detach('b');
      await site.detach('a');
      await site.attach('b', { place: 'elsewhere' });
      await site.attach('a', { place: 'b' });
      assert.ok(fillFarm(site.farmRoot, site.disks) > 0);
      await site.startContainerd();
      assert.equal(await site.containerd.run('moby', 'docker.io/library/app-b:1', 'cat', '/etc/b2'), 'b2');
      assert.deepEqual(stepsOf(await site.fill()), []);
      assert.deepEqual(
        (await linksBelow(site.folder)).filter((line) => !/^(layers|blobs)/.test(line)),
        before,
      );
      await site.remove();
    });

    it('is waited for, and named where it does not come', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('a');
      await site.containerd.stop();
      const options = { address: `${site.folder}/none.sock`, connectTimeoutMs: 200 };
      await assert.rejects(site.fill(options), { code: 'STORE_WRITE', message: /none\.sock.* within 0\.2 s/ });
      const filled = site.fill();
      await site.startContainerd();
      assert.deepEqual((await filled).findings, []);
      await site.remove();
    });
  });
