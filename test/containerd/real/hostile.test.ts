import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { makeDiskFile } from '../../safety/disk-file.ts';
import { HostileRuns } from '../../safety/hostile-runs.ts';
import { makeSite, type Site } from '../../store/site.ts';
import { agent } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { startContainerd, type ContainerdProcess } from '../../support/containerd.ts';
import { buildImage } from '../../support/images.ts';
import { attach } from '../../support/loop-device.ts';
import { startRegistry } from '../../support/registry.ts';
import { sample, torture } from '../../support/size.ts';
import { unmountBelow } from '../../support/temp-tree.ts';
import { madeDisk } from './disks.ts';
import { hostileTargets, Tree } from './hostile-targets.ts';
import { codesOf, ContainerdSite } from './site.ts';

/** The files that the hostile disks are made of. @param folder where they go, to `tree` */
async function goodTree(folder: string): Promise<string> {
  const [tree, mounted] = [path.join(folder, 'tree'), path.join(folder, 'made')];
  mkdirSync(mounted);
  await execa('mount', ['-o', 'ro,loop', (await madeDisk('a')).gzip, mounted]);
  await execa('cp', ['-a', mounted, tree]);
  await unmountBelow(mounted);
  return tree;
}

describe("a disk that lies in what it has for containerd's store", () => {
  let site: Site;
  let containerd: ContainerdProcess;
  let good: string;
  const runs = new HostileRuns();
  const ctr = (...args: readonly string[]): Promise<string> => containerd.ctr(['-n', 'moby', ...args]);

  before(async () => {
    site = await makeSite('28.5');
    containerd = await startContainerd('28.5', path.join(site.folder, 'c'));
    await ctr('images', 'import', (await madeDisk('user')).archive);
    await ctr('images', 'rm', 'docker.io/library/app-a:1');
    await site.attach((await madeDisk('b')).gzip, 'good');
    good = await goodTree(site.folder);
  });
  after(async () => {
    await cleanUpAll();
    runs.tell();
  });

  /** Every link of containerd's store leads to the farm, and each of the farm's to a disk. */
  async function checkLinks(): Promise<void> {
    const farm = path.join(site.folder, 'status/containerd');
    const links = async (folder: string): Promise<readonly (readonly [string, string])[]> =>
      (await execa('find', [folder, '-type', 'l', '-printf', '%p\t%l\n'])).stdout
        .split('\n')
        .flatMap((line) => (line === '' ? [] : [line.split('\t') as [string, string]]));
    for (const [link, target] of await links(containerd.root))
      if (!link.includes('/fs/')) assert.match(target, new RegExp(`^${farm}/(layers|blobs)/[0-9a-f]{64}$`), link);
    for (const [link, target] of await links(farm))
      assert.match(
        target,
        new RegExp(`^${site.mountRoot}/[^/]+/(overlay2/[A-Za-z0-9_-]+/diff|blobs/sha256/[0-9a-f]{64})$`),
        link,
      );
  }

  for (const [number, { name, spoil, says, image }] of sample([...hostileTargets.entries()], 6)) {
    it(`costs nothing but what is wrong on it: ${name}`, async () => {
      const root = path.join(site.folder, `tree-${number}`);
      await execa('cp', ['-a', good, root]);
      spoil(new Tree(root));
      const file = path.join(site.folder, `${number}.ext4`);
      await makeDiskFile(root, file, site.labelOf('bad'));
      rmSync(root, { recursive: true });
      const loop = await attach(file, { copy: true });
      const configure = (labels: readonly string[]): Promise<void> =>
        site.configure({ store: 'containerd', containerdAddress: containerd.address, labels });
      try {
        await configure([site.labelOf('bad'), site.labelOf('good')]);
        const { all } = await runs.apply(name, path.join(site.folder, 'config.json'));
        if (says === undefined) assert.doesNotMatch(all, /disk \S+-bad: /);
        else assert.match(all, says);
        await checkLinks();

        const check = await ctr('images', 'check');
        for (const whole of ['mine', 'app-b', 'one'])
          assert.match(check, new RegExp(`/${whole}:1 .* complete `), check);
        if (existsSync(path.join(site.mountRoot, site.labelOf('bad'))) && /app-a/.test(check)) {
          assert.equal(/app-a:1 .* complete /.test(check), image === 'whole', check);
          assert.equal(await containerd.run('moby', 'docker.io/library/app-a:1', 'cat', '/etc/a'), 'a');
        } else assert.match(all, /docker-preloader\.json: /);
      } finally {
        await configure([site.labelOf('good')]);
        await unmountBelow(path.join(site.mountRoot, site.labelOf('bad')));
        await loop.detach();
        rmSync(file);
      }
      await site.apply();
      assert.doesNotMatch(await ctr('images', 'ls', '-q'), /app-a/);
    });
  }
});

/** What cannot be prevented, since nobody reads all of a disk at each boot: the README says so. */
for (const version of torture ? (['26.1', '28.5'] as const) : [])
  describe(`dockerd ${version} on a disk that has other bytes in a layer's blob`, () => {
    after(cleanUpAll);

    it('runs the image and builds on it; what reads the blob fails, and verify and inspect name it', async () => {
      const ground = await ContainerdSite.make(version);
      const registry = await startRegistry(path.join(ground.folder, 'registry'));
      const root = await goodTree(ground.folder);
      const [, blob = ''] = new Tree(root).blobs;
      const bytes = readFileSync(blob);
      // Within the compressed data.
      bytes.fill(bytes.readUInt8(40) ^ 0xff, 40, 41);
      writeFileSync(blob, bytes);
      const file = path.join(ground.folder, 'bad.ext4');
      await makeDiskFile(root, file, 'dpl-bad');
      assert.match((await agent(['inspect', '--deep', file])).all, /blobs\/sha256\/[0-9a-f]{64}/);

      await ground.attachFile(file, 'bad');
      assert.deepEqual(codesOf(await ground.fill()), []);
      const dockerd = await ground.startDockerd();
      const docker = (...args: readonly string[]): Promise<string> => dockerd.cli(args);
      const run = (image: string, ...command: readonly string[]): Promise<string> =>
        docker('run', '--rm', '--network', 'none', image, ...command);
      assert.equal(await run('app-a:1', 'cat', '/etc/a'), 'a');
      for (const builder of ['classic', 'buildkit'] as const) {
        await buildImage(dockerd, 'on-a:1', 'FROM app-a:1\nRUN cat /etc/a > /built\n', builder);
        assert.equal(await run('on-a:1', 'cat', '/built'), 'a');
      }
      // A registry compares what it gets.
      const name = `${registry.address}/app-a:1`;
      await docker('tag', 'app-a:1', name);
      await assert.rejects(docker('push', name), /digest did not match|unexpected status from PUT/);
      // Saving ends well, and what it has written is cut off.
      const saved = path.join(ground.folder, 'saved.tar');
      await docker('save', '--output', saved, 'app-a:1');
      await assert.rejects(docker('load', '--input', saved), /unrecognized image format/);
      // All goes with the disk.
      await docker('rmi', '--force', 'on-a:1', name);
      await docker('system', 'prune', '--all', '--force');
      await ground.detach('bad');
      assert.deepEqual(codesOf(await ground.fill()), []);
      await ground.remove();
    });
  });
