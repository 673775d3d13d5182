import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { Inspection } from '../../agent/verify/inspect-disk.ts';
import { savedLayers } from '../store/saved-image.ts';
import { makeSite } from '../store/site.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { startDockerd } from '../support/dockerd.ts';
import { dockerdTree, dockerdVersions } from '../support/dockerd-version.ts';
import { FaultyRegistry } from '../support/faulty-registry.ts';
import { imageTools } from '../support/image-tools.ts';
import { buildImage, busyboxRoot } from '../support/images.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { ociLayout, savedArchive, tarOf } from './archive/archives.ts';
import { observedOdd, observeOdd, oddImages } from './layer/odd-layers.ts';
import { treeFacts, withoutUnsetTimes } from './tree-facts.ts';

const mib = 1024 * 1024;
/** One image of two layers; never to be made anew: it stands for all disks that are out there. */
const oldDisk = path.join(import.meta.dirname, 'format-1.0.qcow2');

describe('a built disk and what dockerd makes of the same archive', () => {
  let tree: TempTree;
  let saved = '';
  let layout = '';
  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'python3', 'qemu-utils', 'xz-utils'], { install: true });
    tree = await tempTree('dpl-built');
    const images = await oddImages();
    saved = path.join(tree.path, 'saved.tar');
    layout = path.join(tree.path, 'layout.tar');
    writeFileSync(saved, savedArchive(images));
    // As containerd names images.
    const canonical = images.map(({ tags, layers }) => ({
      tags: tags.map((tag) => (tag.includes('/') ? tag : `docker.io/library/${tag}`)),
      layers,
    }));
    writeFileSync(layout, tarOf(ociLayout(canonical, 'gzip')));
  });
  after(cleanUpAll);

  const build = async (output: string, ...args: readonly string[]): Promise<void> => {
    const { exitCode, all } = await agent(['build', ...args, '-o', output, '--format', 'raw']);
    assert.equal(exitCode, 0, all);
  };

  for (const version of dockerdVersions) {
    it(`dockerd ${version} runs its images, and saves layers with the same digests`, async () => {
      const site = await makeSite(version);
      const disk = path.join(tree.path, `${version}.ext4`);
      await build(disk, saved);
      await site.attach(disk);
      await site.apply();
      const dockerd = await site.start();
      assert.equal(
        await dockerd.cli(['run', '--rm', '--network', 'none', 'odd:1', 'sh', '-c', observeOdd]),
        observedOdd,
      );
      assert.equal(
        await dockerd.cli(['run', '--rm', '--network', 'none', 'small:1', 'sh', '-c', 'wc -c < /small']),
        String(3 * mib + 17),
      );
      for (const tag of ['odd:1', 'small:1', 'registry.example:5000/team/odd:two']) {
        const layers = await savedLayers(dockerd, tag);
        assert.equal(layers.length, tag === 'small:1' ? 2 : 8);
        for (const { digest, diffId } of layers) assert.equal(digest, diffId, `${tag} on dockerd ${version}`);
      }
      const again = path.join(tree.path, `saved-by-${version}.tar`);
      await dockerd.cli(['save', '--output', again, 'odd:1', 'registry.example:5000/team/odd:two', 'small:1']);
      const sources = ['odd:1', 'registry.example:5000/team/odd:two', 'small:1'].map((tag) => `docker-daemon:${tag}`);
      const taken = await agent(['build', ...sources, '-o', `${disk}-taken`, '--format', 'raw'], {
        PATH: `${(await dockerdTree(version)).bin}:${process.env['PATH'] ?? ''}`,
        DOCKER_HOST: `unix://${dockerd.socket}`,
      });
      assert.equal(taken.exitCode, 0, taken.all);
      await dockerd.stop();
      await build(`${disk}-again`, again);
      for (const [other, how] of [
        ['again', 'the archive that it saves'],
        ['taken', 'what docker saves for the build'],
      ] as const)
        assert.ok(readFileSync(`${disk}-${other}`).equals(readFileSync(disk)), `${how} gives the same disk`);
      await site.remove();
    });
  }

  it('an image that is asked of a registry by its digest alone runs by that, and a pull has nothing to do', async () => {
    const registry = new FaultyRegistry();
    await registry.start();
    const { manifest } = await registry.add({ repository: 'app', tag: '1', layers: [await busyboxRoot()] });
    const disk = path.join(tree.path, 'by-digest.ext4');
    const { env } = await imageTools(tree.path);
    const name = `${registry.address}/app@${manifest}`;
    const built = await agent(['build', '--insecure', `docker://${name}`, '-o', disk, '--format', 'raw'], env);
    assert.equal(built.exitCode, 0, built.all);
    const site = await makeSite('28.5');
    await site.attach(disk);
    await site.apply();
    const dockerd = await site.start();
    assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', name, 'sh', '-c', 'echo runs']), 'runs');
    registry.asked.length = 0;
    assert.match(await dockerd.cli(['pull', name]), /Image is up to date/);
    assert.deepEqual(
      registry.asked.filter((one) => one.includes('/blobs/')),
      [],
    );
    await dockerd.stop();
    await site.remove();
  });

  // Since docker 25 the classic builder's cache has only what was built there (builtLocally), also after docker load.
  it("keeps what images were built from, as a dockerd that loads them: history, and the builder's cache", async () => {
    const version = '20.10';
    const dataRoot = path.join(tree.path, 'steps');
    mkdirSync(dataRoot);
    const builder = await startDockerd({ version, dataRoot });
    await builder.cli(['load', '--input', saved]);
    const dockerfile = ['FROM small:1', 'LABEL step=one', 'RUN echo two > /two', 'CMD ["three"]'];
    const tags = ['small:1', 'one:1', 'two:1', 'three:1'];
    for (const [index, tag] of tags.entries()) {
      if (index > 0) await buildImage(builder, tag, dockerfile.slice(0, index + 1).join('\n'), 'classic');
    }
    const archive = path.join(tree.path, 'steps.tar');
    await builder.cli(['save', '--output', archive, ...tags]);
    await builder.stop();

    const loadedRoot = path.join(tree.path, 'steps-loaded');
    mkdirSync(loadedRoot);
    const site = await makeSite(version);
    const disk = path.join(tree.path, 'steps.ext4');
    await build(disk, archive);
    await site.attach(disk);
    await site.apply();
    const starts = [startDockerd({ version, dataRoot: loadedRoot }), site.start()];
    const told = await Promise.all(
      starts.map(async (starting, index) => {
        const dockerd = await starting;
        if (index === 0) await dockerd.cli(['load', '--input', archive]);
        const format = (text: string): string[] => ['--no-trunc', '--format', text];
        const steps = format('{{.ID}} {{.CreatedBy}} {{.Size}}');
        const history = await Promise.all(tags.map((tag) => dockerd.cli(['history', ...steps, tag])));
        const built = await buildImage(dockerd, 'again:1', dockerfile.join('\n'), 'classic');
        const images = await dockerd.cli(['images', '--all', ...format('{{.ID}} {{.Repository}}:{{.Tag}}')]);
        await dockerd.stop();
        return { history, cached: built.split('Using cache').length - 1, images: images.split('\n').sort() };
      }),
    );
    assert.deepEqual(told[1], told[0]);
    assert.equal(told[1]?.cached, 3);
    // Of small:1 the layers below the last are no images anywhere.
    for (const lines of told[1].history) assert.equal(lines.split('<missing>').length, 2, lines);
    await site.remove();
  });

  it("takes what dockerd with the containerd image store saves: the registry's compressed layers", async () => {
    const dataRoot = path.join(tree.path, 'containerd-store');
    mkdirSync(dataRoot);
    const dockerd = await startDockerd({
      version: '28.5',
      dataRoot,
      extraConfig: { features: { 'containerd-snapshotter': true } },
    });
    await dockerd.cli(['load', '--input', layout]);
    const archive = path.join(tree.path, 'saved-by-containerd.tar');
    await dockerd.cli(['save', '--output', archive, 'odd:1', 'small:1']);
    await dockerd.stop();
    await build(path.join(tree.path, 'containerd.ext4'), archive);
    const { exitCode, stdout, all } = await agent([
      'inspect',
      '--deep',
      '--json',
      path.join(tree.path, 'containerd.ext4'),
    ]);
    assert.equal(exitCode, 0, all);
    const { images, layers } = JSON.parse(stdout) as { images: { references: string[] }[]; layers: unknown[] };
    assert.equal(layers.length, 9);
    assert.match(
      images
        .map(({ references }) => references.join(' '))
        .sort()
        .join(' '),
      /odd:1 odd@sha256:\w{64}.* small:1 small@sha256:\w{64}/,
    );
  });

  it('holds the same trees and the same records as a dockerd that loaded the archive', async () => {
    const site = await makeSite('28.5');
    const disk = path.join(tree.path, 'compared.ext4');
    await build(disk, saved);
    await site.attach(disk);
    await site.apply();
    const loadedRoot = path.join(tree.path, 'loaded');
    mkdirSync(loadedRoot);
    const dockerd = await startDockerd({ version: '28.5', dataRoot: loadedRoot });
    await dockerd.cli(['load', '--input', saved]);
    await dockerd.stop();

    const layerdb = 'image/overlay2/layerdb/sha256';
    const chains = readdirSync(path.join(loadedRoot, layerdb)).sort();
    assert.deepEqual(readdirSync(path.join(site.dataRoot, layerdb)).sort(), chains);
    for (const chain of chains) {
      const record = (root: string, name: string): string => {
        const file = path.join(root, layerdb, chain, name);
        return existsSync(file) ? readFileSync(file, 'utf8') : 'none';
      };
      for (const name of ['diff', 'size', 'parent'])
        assert.equal(record(site.dataRoot, name), record(loadedRoot, name), `${chain}/${name}`);
      const facts = async (root: string): Promise<unknown> =>
        withoutUnsetTimes(await treeFacts(path.join(root, 'overlay2', record(root, 'cache-id'), 'diff/')));
      assert.deepEqual(await facts(site.dataRoot), await facts(loadedRoot), chain);
    }
    const repositories = (root: string): unknown =>
      JSON.parse(readFileSync(path.join(root, 'image/overlay2/repositories.json'), 'utf8'));
    assert.deepEqual(repositories(site.dataRoot), repositories(loadedRoot));
    await site.remove();
  });

  it('takes the disk of format 1.0 that the first version built', async () => {
    const site = await makeSite('20.10');
    const disk = path.join(tree.path, 'old.ext4');
    const inspected = await agent(['inspect', '--deep', '--json', oldDisk]);
    assert.equal(inspected.exitCode, 0, inspected.all);
    assert.equal((JSON.parse(inspected.stdout) as Inspection).manifest?.formatVersion, '1.0');
    await execa('qemu-img', ['convert', '-O', 'raw', oldDisk, disk]);
    await site.attach(disk);
    await site.apply();
    const dockerd = await site.start();
    const [base, top] = await savedLayers(dockerd, 'fixture:1.0');
    assert.deepEqual(
      [base?.names, top?.names],
      [
        ['format', 'gone/'],
        ['.wh.gone', 'hard', 'link'],
      ],
    );
    assert.deepEqual([base?.digest, top?.digest], [base?.diffId, top?.diffId]);
    await dockerd.stop();
    await site.remove();
  });

  it("keeps a registry's manifests, names and blobs of an OCI layout", async () => {
    const site = await makeSite('28.5');
    const disk = path.join(tree.path, 'layout.ext4');
    await build(disk, layout);
    await site.attach(disk);
    await site.apply();
    const dockerd = await site.start();
    const [{ RepoDigests: digests }] = JSON.parse(await dockerd.cli(['inspect', 'small:1'])) as [
      { RepoDigests: string[] },
    ];
    assert.match(digests.join(), /^small@sha256:[0-9a-f]{64}$/);
    assert.equal(
      await dockerd.cli(['run', '--rm', '--network', 'none', digests[0] ?? '', 'cat', '/bin/../etc/passwd']),
      'root:x:0:0:root:/root:/bin/sh',
    );
    for (const { digest, diffId } of await savedLayers(dockerd, 'odd:1')) assert.equal(digest, diffId);
    assert.ok(readdirSync(path.join(site.dataRoot, 'image/overlay2/distribution/diffid-by-digest/sha256')).length > 0);
    await dockerd.stop();
    await site.remove();
  });
});
