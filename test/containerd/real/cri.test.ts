import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import type { FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { Cri } from '../../support/cri.ts';
import { RUNNING } from '../../support/cri-services.ts';
import { dockerdVersions } from '../../support/dockerd-version.ts';
import { until } from '../../support/until.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

const respect = { config: { conflicts: 'user', removedImages: 'respect' } } as const;
const full = (name: string): string => `docker.io/library/${name}`;

/** What kubelet sees of disks, by CRI: one machine's story, in which each test goes on where the last one has ended. */
for (const version of dockerdVersions)
  describe(`Kubernetes on the containerd of dockerd ${version}`, () => {
    /** containerd 1.6 knows the label, and does not tell. */
    const tellsPinned = version !== '20.10';
    let site: ContainerdSite;
    let cri: Cri;
    let pause: string;
    let started: Record<'a' | 'b' | 'one', string>;
    let pod: Awaited<ReturnType<Cri['runPod']>>;
    const fill = (more: Partial<FillOptions> = {}): ReturnType<ContainerdSite['fill']> =>
      site.fill({ namespaces: ['k8s.io'], ...more });
    const ctr = (...args: readonly string[]): Promise<string> => site.containerd.ctr(['-n', 'k8s.io', ...args]);
    const tags = async (): Promise<string[]> => (await cri.images()).map(({ repoTags }) => repoTags.join(' '));
    /** The plugin hears of changes by events. */
    const untilTags = (...expected: readonly string[]): Promise<unknown> =>
      until(`the images ${expected.join(', ')}`, async () => (await tags()).join('\n') === expected.join('\n'));
    const sh = (name: keyof typeof started, command: string): Promise<string> =>
      cri.exec(started[name], 'sh', '-c', command);
    const byDigest = async (name: string): Promise<string> => (await cri.image(name))?.repoDigests[0] ?? '';

    before(async () => {
      site = await ContainerdSite.make(version, '', { cri: true });
      pause = await site.containerd.sandboxImage();
      await site.attach('a');
      await site.attach('b');
      await site.attach('pause', { tag: pause });
      cri = await Cri.open(site.containerd.address);
    });
    after(cleanUpAll);

    it("lists the disks' images at once, with tags and digests, and pinned", async () => {
      assert.equal((await cri.version()).runtimeApiVersion, 'v1');
      assert.deepEqual(await cri.images(), []);
      assert.deepEqual((await fill()).findings, []);
      await untilTags(full('app-a:1'), full('app-b:1'), full('one:1'), pause);
      for (const { id, repoTags, repoDigests, pinned } of await cri.images()) {
        assert.equal(pinned, tellsPinned, id);
        assert.deepEqual([repoTags.length, repoDigests.length], [1, 1], id);
      }
    });

    it('finds an image by each of its names', async () => {
      const image = await cri.image(full('app-b:1'));
      assert.match(image?.id ?? '', /^sha256:[0-9a-f]{64}$/);
      for (const name of ['app-b:1', image?.repoDigests[0] ?? '', image?.id ?? ''])
        assert.deepEqual(await cri.image(name), image, name);
    });

    it('counts the links for them, and not what the disks hold', async () => {
      const usage = async (): Promise<Record<'inodes' | 'bytes', number>> => {
        const [filesystem] = await cri.imageFilesystems();
        return { inodes: filesystem?.inodesUsed?.value ?? 0, bytes: filesystem?.usedBytes?.value ?? 0 };
      };
      // It looks once a second.
      await until('five layers', async () => (await usage()).inodes === 5);
      assert.ok((await usage()).bytes <= 5 * 4096);
    });

    it("loses none to kubelet's collection where they are pinned, and else has them again after the next run", async () => {
      await cri.collectImages();
      const all = [full('app-a:1'), full('app-b:1'), full('one:1'), pause];
      await untilTags(...(tellsPinned ? all : []));
      assert.equal(stepsOf(await fill()).length === 0, tellsPinned);
      await untilTags(...all);
    });

    it("runs pods on the disk's sandbox image, and containers by tag, digest and ID", async () => {
      pod = await cri.runPod('pod', site.folder);
      const id = (await cri.image('one:1'))?.id ?? '';
      started = {
        a: await cri.start(pod, 'a', 'app-a:1', ['sleep', '1000']),
        b: await cri.start(pod, 'b', await byDigest('app-b:1'), ['sleep', '1000']),
        one: await cri.start(pod, 'one', id, ['sleep', '1000']),
      };
      assert.equal(await sh('a', 'cat /etc/a; ls /data; echo n >/etc/a; cat /etc/a'), 'a\nsub\nn');
      assert.equal(await sh('b', 'cat /etc/b2; ls /data/sub'), 'b2\nz');
      assert.equal(await sh('one', 'cat /data/x'), 'x');
      const { state, image, imageRef } = await cri.status(started.b);
      assert.deepEqual([state, image?.image, imageRef], [RUNNING, full('app-b:1'), await byDigest('app-b:1')]);
      assert.deepEqual(stepsOf(await fill()), []);
    });

    it('has images and containers through a restart of containerd', async () => {
      const before = await cri.images();
      cri.close();
      await site.containerd.stop();
      await site.startContainerd();
      cri = await Cri.open(site.containerd.address);
      assert.deepEqual(await cri.images(), before);
      assert.equal((await cri.status(started.a)).state, RUNNING);
      assert.equal(await sh('a', 'cat /etc/a'), 'n');
      assert.deepEqual(stepsOf(await fill()), []);
    });

    it('takes RemoveImage for a removal by the user', async () => {
      await cri.removeImage('app-a:1');
      for (const _ of [1, 2]) assert.deepEqual(codesOf(await fill(respect)), ['TAG_REMOVED']);
      await untilTags(full('app-b:1'), full('one:1'), pause);
      assert.equal(await cri.image('app-a:1'), undefined);
      assert.deepEqual(codesOf(await fill()), []);
      await untilTags(full('app-a:1'), full('app-b:1'), full('one:1'), pause);
      assert.equal((await cri.image('app-a:1'))?.pinned, tellsPinned);
    });

    it('keeps what containers stand on without its disk, says so, and goes with it at another place', async () => {
      await site.detach('a');
      await site.detach('b');
      for (const _ of [1, 2]) {
        const { findings } = await fill();
        assert.deepEqual(new Set(findings.map(({ code }) => code)), new Set(['KEPT']));
        assert.ok(findings.some(({ message }) => message.includes(`container ${started.b.slice(0, 12)}`)));
      }
      await untilTags(full('app-a:1'), full('app-b:1'), full('one:1'), pause);
      await site.attach('b', { place: 'elsewhere' });
      await site.attach('a', { place: 'b' });
      assert.deepEqual(codesOf(await fill()), []);
      const again = await cri.start(pod, 'again', await byDigest('app-b:1'), ['sleep', '1000']);
      assert.equal(await cri.exec(again, 'cat', '/etc/b2'), 'b2');
    });

    it('lets go of them with the disk, where no container stands on them', async () => {
      await cri.removePod(pod);
      await site.detach('b');
      assert.deepEqual(codesOf(await fill()), []);
      await untilTags(full('app-a:1'), pause);
      await site.attach('b', { place: 'third' });
      await fill();
      await untilTags(full('app-a:1'), full('app-b:1'), full('one:1'), pause);
    });

    it('has nothing of ours after unlink', async () => {
      for (const name of ['a', 'b', 'pause']) await site.detach(name);
      assert.deepEqual(codesOf(await fill({ mode: 'unlink', disks: [] })), []);
      await untilTags();
      for (const list of [['images'], ['content'], ['leases']])
        assert.equal((await ctr(...list, 'ls', '-q')).trim(), '', list.join(' '));
      assert.equal((await ctr('snapshots', 'ls')).split('\n').length - 1, 0);
      assert.deepEqual(await linksBelow(site.folder), []);
      assert.deepEqual(
        readdirSync(`${site.dataRoot}/docker-preloader`).filter((name) => name.endsWith('.json')),
        [],
      );
    });
  });
