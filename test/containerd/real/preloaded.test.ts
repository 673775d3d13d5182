import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { imageFacts, type ImageFacts } from '../../store/fixtures.ts';
import { savedLayers } from '../../store/saved-image.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import { buildImage, changedFiles, observe } from '../../support/images.ts';
import { startRegistry, type Registry } from '../../support/registry.ts';
import { torture } from '../../support/size.ts';
import { madeDisk, type Form } from './disks.ts';
import { codesOf, ContainerdSite, linksBelow, stepsOf } from './site.ts';

const forms: readonly Form[] = ['gzip', 'index', 'tar', 'erofs'];
const all = (['26.1', '28.5'] as const).flatMap((version) => forms.map((form) => ({ version, form })));
/** Each form on one dockerd; all on both with DPL_TORTURE=1. */
const tried = torture
  ? all
  : all.filter(
      ({ version, form }) => (form === 'gzip' && version === '28.5') || (form === 'erofs' && version === '26.1'),
    );

/** Two of the disks have a `side:1`. */
const ofDisks = ['TAG_CONFLICT'];

/**
 * What Docker does, where its images are in containerd, with those of three disks. One store serves all of it, in the
 * order below, as in test/store/preloaded-store.ts.
 */
for (const { version, form } of tried)
  describe(`dockerd ${version} with its images in containerd, on disks with ${form}`, () => {
    let site: ContainerdSite;
    let dockerd: Dockerd;
    let registry: Registry;
    let facts: Readonly<Record<string, ImageFacts>>;
    const run = (image: string, command: string): Promise<string> =>
      dockerd.cli(['run', '--rm', '--network', 'none', image, 'sh', '-c', command]);
    const docker = (...args: readonly string[]): Promise<string> => dockerd.cli(args);
    /** What containerd has by a link: layers and their bytes. */
    const linked = async (): Promise<string[]> =>
      (await linksBelow(site.folder)).filter((line) => line.includes(' -> ') && line.startsWith('io.containerd'));
    const snapshots = async (): Promise<number> =>
      (await site.containerd.ctr(['-n', 'moby', 'snapshots', 'ls'])).split('\n').length - 1;

    before(async () => {
      site = await ContainerdSite.make(version);
      registry = await startRegistry(`${site.folder}/registry`);
      for (const name of ['store', 'again']) await site.attach(name, { form });
      assert.deepEqual(codesOf(await site.fill()), ofDisks);
      assert.deepEqual(stepsOf(await site.fill()), []);
      dockerd = await site.startDockerd(registry.address);
      facts = await imageFacts(dockerd);
    });
    after(cleanUpAll);

    it('lists the images of all disks, with their layers and their history, and no `<none>`', async () => {
      assert.deepEqual(
        Object.entries(facts)
          .map(([tag, { diffIds, history }]) => `${tag} ${diffIds.length} ${history}`)
          .toSorted((a, b) => (a < b ? -1 : 1)),
        ['base:1 1 1', 'multi:1 4 4', 'side:1 2 2', 'twelve:1 12 12'],
      );
      assert.equal(await docker('images', '--filter', 'dangling=true', '--quiet'), '');
      // base 1, multi 3, side 1 (that of `store` has lost its name), twelve 12.
      assert.equal(await snapshots(), 1 + 3 + 1 + 12);
    });

    it('runs them, with whiteouts, opaque folders and files written over as they should be', async () => {
      assert.equal(
        await run('base:1', observe.replace(' $(cat /added/file)', '')),
        'kept before [changed deleted kept] [old sub]',
      );
      assert.equal(await run('multi:1', observe), changedFiles);
      assert.equal(await run('side:1', 'cat /side'), 'other side');
      assert.equal(await run('twelve:1', 'echo $(ls /layers)'), '11 12');
    });

    it('writes over and deletes lower files in a container, and commits that', async () => {
      const change =
        'echo more >> /lower/changed && rm /lower/kept && rm -r /covered && mkdir /covered && echo own > /own';
      await docker('run', '--name', 'changer', '--network', 'none', 'multi:1', 'sh', '-c', change);
      const changes = (await docker('diff', 'changer')).split('\n');
      for (const line of ['A /own', 'C /lower/changed', 'D /lower/kept'])
        assert.ok(changes.includes(line), changes.join());
      await docker('commit', 'changer', 'committed:1');
      assert.equal(
        await run('committed:1', 'echo $(cat /lower/changed) "[$(ls /lower)]" "[$(ls /covered)]" $(cat /own)'),
        'after more [changed] [] own',
      );
      await docker('rm', 'changer');
    });

    it('saves them: the digest of every layer is its diffID', async () => {
      for (const tag of ['base:1', 'multi:1', 'twelve:1', 'committed:1'])
        for (const { diffId, digest } of await savedLayers(dockerd, tag)) assert.equal(digest, diffId, tag);
    });

    for (const builder of ['classic', 'buildkit'] as const)
      it(`builds on them with the ${builder === 'classic' ? 'classic builder' : 'BuildKit'}, and records the change only`, async () => {
        const bases = torture ? ['base:1', 'multi:1'] : [builder === 'classic' ? 'base:1' : 'multi:1'];
        for (const base of bases) {
          const tag = `on-${base.replace(':1', '')}-${builder}:1`;
          const dockerfile = `FROM ${base}\nCOPY mine /mine\nRUN rm /lower/kept && echo built > /built\n`;
          await buildImage(dockerd, tag, dockerfile, builder, { mine: 'mine\n' });
          assert.equal(
            await run(tag, 'cat /mine /built; ls /lower'),
            base === 'base:1' ? 'mine\nbuilt\nchanged\ndeleted' : 'mine\nbuilt\nchanged',
          );
          const layers = await savedLayers(dockerd, tag);
          const below = facts[base]?.diffIds ?? [];
          assert.deepEqual(
            layers.slice(0, below.length).map(({ diffId }) => diffId),
            below,
          );
          const names = layers
            .slice(below.length)
            .map((layer) => layer.names.filter((name) => !/^(lower|dev|etc|proc|sys|run)\/?$/.test(name)).toSorted());
          assert.deepEqual(names, [['mine'], ['built', 'lower/.wh.kept']]);
          for (const { diffId, digest } of layers) assert.equal(digest, diffId);
        }
      });

    it('saves what another Docker, without a disk, loads and runs', async () => {
      await docker('save', '--output', `${site.folder}/saved.tar`, 'multi:1', 'committed:1');
      const other = await ContainerdSite.make(version);
      const alone = await other.startDockerd();
      await alone.cli(['load', '--input', `${site.folder}/saved.tar`]);
      const runAlone = (image: string, command: string): Promise<string> =>
        alone.cli(['run', '--rm', '--network', 'none', image, 'sh', '-c', command]);
      assert.equal(await runAlone('multi:1', observe), changedFiles);
      assert.equal(await runAlone('committed:1', 'cat /own'), 'own');
      assert.equal((await imageFacts(alone))['multi:1']?.id, facts['multi:1']?.id);
      await other.remove();
    });

    it('loads an image that is already there without copying a layer', async () => {
      const before = [await snapshots(), await linked()];
      await docker('tag', 'multi:1', 'again:1');
      await docker('load', '--input', `${site.folder}/saved.tar`);
      assert.deepEqual([await snapshots(), await linked()], before);
      assert.equal(await run('multi:1', observe), changedFiles);
      await docker('rmi', 'again:1');
      assert.deepEqual(codesOf(await site.fill()), ofDisks);
    });

    it('pushes them and what is built on them, and pulls without fetching a layer of a disk', async () => {
      const before = await linked();
      // Of an index, 26.1 pushes all that it lists, and only one of that is there.
      const isWhole = form !== 'index' || version !== '26.1';
      for (const [from, name] of [
        ...(isWhole ? ([['multi:1', 'multi']] as const) : []),
        ['on-multi-buildkit:1', 'upper'],
      ] as const) {
        const tag = `${registry.address}/library/${name}:1`;
        await docker('tag', from, tag);
        await docker('push', tag);
        await docker('rmi', tag);
      }
      if (!isWhole) {
        await docker('tag', 'multi:1', `${registry.address}/library/multi:1`);
        await assert.rejects(docker('push', `${registry.address}/library/multi:1`), /missing content/);
        await docker('rmi', `${registry.address}/library/multi:1`);
      }
      await docker('rmi', 'on-multi-buildkit:1');
      await docker('pull', 'upper:1');
      assert.equal(await run('upper:1', `cat /mine /built; ls /lower`), 'mine\nbuilt\nchanged');
      // The layers of the disk are links still, and what is pulled is whole.
      assert.deepEqual(await linked(), before);
      for (const { diffId, digest } of await savedLayers(dockerd, 'upper:1')) assert.equal(digest, diffId);
    });

    it('pulls the image of a disk again: it is there already, and the tag is the user’s from then on', async () => {
      if (form === 'index') return;
      const said = await docker('pull', 'multi:1');
      assert.match(said, /Image is up to date/);
      assert.deepEqual([codesOf(await site.fill()), stepsOf(await site.fill())], [ofDisks, []]);
      assert.deepEqual((await imageFacts(dockerd))['multi:1'], facts['multi:1']);
      assert.equal(await run('multi:1', observe), changedFiles);
    });

    it('pulls another image over the tag of a disk: that is the user’s, until he removes it', async () => {
      const name = `${registry.address}/library/side:1`;
      await docker('tag', 'committed:1', name);
      await docker('push', name);
      await docker('rmi', name);
      await docker('pull', 'side:1');
      assert.equal(await run('side:1', 'cat /own'), 'own');
      for (const _ of [1, 2]) assert.deepEqual(codesOf(await site.fill()), [...ofDisks, 'TAG_CONFLICT']);
      assert.equal(await run('side:1', 'cat /own'), 'own');
      await docker('rmi', 'side:1');
      assert.deepEqual(codesOf(await site.fill()), ofDisks);
      assert.equal(await run('side:1', 'cat /side'), 'other side');
    });

    it('keeps tags, containers and images of the user over restarts of both daemons', async () => {
      await docker('tag', 'twelve:1', 'user/tag:1');
      const say =
        'echo in-container > /lower/kept; test -f /volume/file && cat /volume/file || echo in-volume > /volume/file';
      await docker(
        'run',
        '--name',
        'keeper',
        '--network',
        'none',
        '--volume',
        'kept:/volume',
        'multi:1',
        'sh',
        '-c',
        say,
      );
      const before = [await imageFacts(dockerd), await linked()];
      await dockerd.stop();
      await site.containerd.stop();
      await site.startContainerd();
      assert.deepEqual(stepsOf(await site.fill()), []);
      dockerd = await site.startDockerd(registry.address);
      assert.deepEqual([await imageFacts(dockerd), await linked()], before);
      assert.equal(await docker('start', '--attach', 'keeper'), 'in-volume');
      assert.ok((await docker('cp', 'keeper:/lower/kept', '-')).includes('in-container'));
      assert.equal(await run('on-base-classic:1', 'cat /built'), 'built');
    });

    it('removes and prunes images, and has them again with the next run', async () => {
      await docker('rm', 'keeper');
      await docker('rmi', 'twelve:1');
      await docker('system', 'prune', '--all', '--force');
      await docker('builder', 'prune', '--all', '--force');
      assert.equal(await docker('images', '--quiet'), '');
      assert.equal(await snapshots(), 0);
      // The disks are as they were, and Docker works on.
      await docker('load', '--input', (await madeDisk('user')).archive);
      assert.equal(await run('mine:1', 'cat /mine'), 'mine');
      await docker('rmi', 'mine:1', 'app-a:1');
      assert.deepEqual(codesOf(await site.fill()), ofDisks);
      assert.deepEqual(await imageFacts(dockerd), facts);
      assert.equal(await run('twelve:1', 'echo $(ls /layers)'), '11 12');
      for (const { diffId, digest } of await savedLayers(dockerd, 'multi:1')) assert.equal(digest, diffId);
      assert.equal((await readFile(`${site.folder}/d/dockerd.log`, 'utf8')).match(/panic/g), null);
    });

    if (form === 'gzip')
      it('runs and saves an image of 125 layers, which comes and goes', async () => {
        await site.attach('deep', { form });
        assert.deepEqual(codesOf(await site.fill()), ofDisks);
        assert.equal(await run('deep:1', 'echo $(ls /layers)'), '124 125');
        const saved = await savedLayers(dockerd, 'deep:1');
        assert.equal(saved.length, 125);
        for (const { diffId, digest } of saved) assert.equal(digest, diffId);
        await site.detach('deep');
        assert.deepEqual(codesOf(await site.fill()), ofDisks);
        assert.deepEqual(await imageFacts(dockerd), facts);
      });
  });

for (const version of ['26.1', '28.5'] as const)
  describe(`dockerd ${version} with its images in containerd, on a disk without the bytes of layers`, () => {
    after(cleanUpAll);

    it('runs them, and builds on them with the classic builder; what else fails is said', async () => {
      const site = await ContainerdSite.make(version);
      await site.attach('store', { form: 'none' });
      const [finding, ...others] = (await site.fill()).findings;
      assert.deepEqual([finding?.code, others], ['LAYERS_UNLINKED', []]);
      assert.match(
        finding?.message ?? '',
        /4 images .*: the disk has none; they run, but docker save is incomplete, push and builds by BuildKit fail, and Docker 26 does not list them$/,
      );
      const dockerd = await site.startDockerd();
      const run = (image: string, command: string): Promise<string> =>
        dockerd.cli(['run', '--rm', '--network', 'none', image, 'sh', '-c', command]);
      assert.equal(await run('multi:1', observe), changedFiles);
      const listed = (await dockerd.cli(['images', '--quiet'])).split('\n').filter((line) => line !== '');
      assert.equal(listed.length, version === '26.1' ? 0 : 4);
      await buildImage(dockerd, 'classic:1', 'FROM multi:1\nRUN echo built > /built\n', 'classic');
      assert.equal(await run('classic:1', `cat /built; ${observe}`), `built\n${changedFiles}`);
      await assert.rejects(buildImage(dockerd, 'kit:1', 'FROM multi:1\nRUN echo built > /built\n', 'buildkit'));
      // It ends well, and what it wrote lacks the layers.
      await assert.rejects(savedLayers(dockerd, 'multi:1'), { code: 'ENOENT' });
      await site.remove();
    });
  });
