import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { FillOptions } from '../../../agent/containerd/fill-containerd.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { Cri } from '../../support/cri.ts';
import { RUNNING } from '../../support/cri-services.ts';
import { dockerdVersions } from '../../support/dockerd-version.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { until } from '../../support/until.ts';
import { madeDisk } from './disks.ts';
import { PrivateGround } from './private-ground.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

const respect = { config: { conflicts: 'user', removedImages: 'respect' } } as const;
const full = (name: string): string => `docker.io/library/${name}`;

/** Has a site's CRI pull from a registry what it would pull from Docker's. */
async function mirror({ folder }: ContainerdSite, { address }: Registry): Promise<void> {
  const at = `${folder}/registries/docker.io`;
  await mkdir(at, { recursive: true });
  await writeFile(`${at}/hosts.toml`, `server = "http://${address}"\n[host."http://${address}"]\n`);
}

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
      // CRI needs no more of an image than its layers.
      await site.attach('b', { form: 'tar' });
      await site.attach('pause', { form: 'none', tag: pause });
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
      for (const end of ['stop', 'kill'] as const) {
        cri.close();
        await site.containerd[end]();
        await site.startContainerd();
        cri = await Cri.open(site.containerd.address);
        assert.deepEqual(await cri.images(), before);
        assert.equal((await cri.status(started.a)).state, RUNNING);
        assert.equal(await sh('a', 'cat /etc/a'), 'n');
        assert.deepEqual(stepsOf(await fill()), []);
      }
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
      await site.attach('b', { form: 'tar', place: 'elsewhere' });
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
      await site.attach('b', { form: 'tar', place: 'third' });
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

/** What becomes of a disk's image when kubelet pulls it, as it does at each start of a container under `Always`. */
for (const version of dockerdVersions)
  describe(`Kubernetes that pulls, on the containerd of dockerd ${version}`, () => {
    let site: ContainerdSite;
    let cri: Cri;
    let registry: Registry;
    let pod: Awaited<ReturnType<Cri['runPod']>>;
    const fill = (): ReturnType<ContainerdSite['fill']> => site.fill({ namespaces: ['k8s.io'] });
    const push = (name: string): Promise<string> =>
      site.containerd.ctr(['images', 'push', '--plain-http', `${registry.address}/library/app-a:1`, full(name)]);
    const untilGone = (): Promise<unknown> =>
      until('app-a:1 to be gone', async () => (await cri.image('app-a:1')) === undefined);
    const run = async (name: string, file: string): Promise<string> =>
      cri.exec(await cri.start(pod, name, 'app-a:1', ['sleep', '1000']), 'cat', file);

    before(async () => {
      site = await ContainerdSite.make(version, '', { cri: true });
      registry = await startRegistry(`${site.folder}/registry`);
      await mirror(site, registry);
      await site.attach('pause', { tag: await site.containerd.sandboxImage() });
      await site.attach('a');
      await site.fill({ namespaces: ['default'] });
      await push('app-a:1');
      await site.fill({ namespaces: ['default'], mode: 'unlink', disks: [] });
      cri = await Cri.open(site.containerd.address);
    });
    after(cleanUpAll);

    it('finds the image of a disk as one that it has pulled', async () => {
      await cri.pull('app-a:1');
      const pulled = await cri.image('app-a:1');
      const list = ['-n', 'k8s.io', 'images', 'ls', '-q', `target.digest==${pulled?.repoDigests[0]?.split('@')[1]}`];
      const names = await site.containerd.ctr(list);
      assert.equal(names.split('\n').length, 3);
      await cri.removeImage('app-a:1');
      await untilGone();
      await fill();
      await until('app-a:1', async () => (await cri.image('app-a:1')) !== undefined);
      assert.deepEqual(await cri.image('app-a:1'), { ...pulled, pinned: version !== '20.10' });
      assert.equal(await site.containerd.ctr(list), names);
    });

    it("takes it for the disk's still, when it has pulled it again as it was", async () => {
      const before = await cri.image('app-a:1');
      const digest = before?.repoDigests[0] ?? '';
      for (const name of ['app-a:1', digest]) await cri.pull(name);
      assert.deepEqual(stepsOf(await fill()), []);
      cri.close();
      await site.containerd.stop();
      await site.startContainerd();
      cri = await Cri.open(site.containerd.address);
      assert.deepEqual([await cri.image('app-a:1'), await cri.image(digest)], [before, before]);
      await site.detach('a');
      assert.deepEqual(codesOf(await fill()), []);
      await untilGone();
      pod = await cri.runPod('pod', site.folder);
      await cri.pull('app-a:1');
      assert.equal(await run('pulled', '/etc/a'), 'a');
    });

    it("takes it for the user's, when it has pulled it without the disk, or another under its name", async () => {
      await site.attach('a');
      assert.deepEqual(stepsOf(await fill()), []);
      await site.detach('a');
      await fill();
      assert.equal(await run('again', '/etc/a'), 'a');
      await cri.removePod(pod);
      await cri.removeImage('app-a:1');
      await site.attach('a', { place: 'elsewhere' });
      await fill();
      await site.containerd.ctr(['images', 'import', (await madeDisk('user')).archive]);
      await push('mine:1');
      await cri.pull('app-a:1');
      assert.deepEqual(codesOf(await fill()), ['TAG_CONFLICT']);
      await site.detach('a');
      assert.deepEqual(codesOf(await fill()), []);
      pod = await cri.runPod('other', site.folder);
      assert.equal(await run('mine', '/mine'), 'mine');
      await cri.removePod(pod);
    });
  });

describe('Kubernetes that has its images in another snapshotter', () => {
  after(cleanUpAll);

  for (const version of dockerdVersions)
    it(`gets none on the containerd of dockerd ${version}, where they would be listed and could not run`, async () => {
      // containerd 2 has another name for it, which an older one does not know.
      const snapshotter = ['io.containerd.grpc.v1.cri".containerd', 'io.containerd.cri.v1.images"']
        .map((table) => `[plugins."${table}]\n  snapshotter = "native"\n`)
        .join('');
      const site = await ContainerdSite.make(version, snapshotter, { cri: true });
      await site.attach('a', { form: 'none' });
      const { findings } = await site.fill({ namespaces: ['k8s.io', 'default'] });
      assert.deepEqual(
        findings.map(({ code }) => code),
        ['STORE_UNSUPPORTED'],
      );
      assert.match(findings[0]?.message ?? '', /k8s\.io .* 'overlayfs', found 'native'$/);
      const cri = await Cri.open(site.containerd.address);
      assert.deepEqual(await cri.images(), []);
      cri.close();
      assert.equal(await site.containerd.ctr(['-n', 'default', 'images', 'ls', '-q']), full('app-a:1'));
      await site.containerd.stop();
      const ground = await PrivateGround.make(version, site.containerd.root);
      const before = await ground.private(
        (address, { criSnapshotter }) => site.fill({ address, criSnapshotter, namespaces: ['k8s.io'] }),
        { configFile: `${site.folder}/containerd.toml` },
      );
      assert.deepEqual(codesOf(before), ['STORE_UNSUPPORTED'], 'before it starts');
      assert.ok(!stepsOf(before).includes('create-image'));
      await ground.remove();
      await site.remove();
    });
});
