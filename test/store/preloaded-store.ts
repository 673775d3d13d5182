import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { buildImage, changedFiles, observe } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { type Fixtures, fixtures, imageFacts } from './fixtures.ts';
import { savedLayers } from './saved-image.ts';
import { makeSite, type Site } from './site.ts';
import type { Tree } from '../support/tree.ts';

/**
 * What Docker does, on one dockerd version, with the images of three disks that were applied to an empty store.
 * One store serves all of it, in the order below: what comes later may build on what came before.
 */
export function preloadedStoreTests(version: DockerdVersion): void {
  describe(`dockerd ${version} on preloaded images`, () => {
    let made: Fixtures;
    let site: Site;
    let dockerd: Dockerd;
    let again: { readonly before: Tree; readonly after: Tree } | undefined;
    const run = (image: string, command: string): Promise<string> =>
      dockerd.cli(['run', '--rm', '--network', 'none', image, 'sh', '-c', command]);

    before(async () => {
      made = await fixtures();
      site = await makeSite(version);
      await site.attach(made.first);
      await site.attach(made.second);
      await site.attach(made.deep);
      const planned = site.snapshot();
      const { exitCode, all } = await site.agent('plan');
      assert.equal(exitCode, 0, all);
      assert.deepEqual(site.snapshot(), planned, '`plan` changes nothing');
      await site.apply();
      const applied = site.snapshot();
      await site.apply();
      again = { before: applied, after: site.snapshot() };
      dockerd = await site.start();
    });
    after(cleanUpAll);

    it('was not changed by a second pass of the agent', () => {
      assert.ok(again !== undefined);
      assert.deepEqual(again.after, again.before);
    });

    it('lists the images of all disks, and of a tag that two disks have that of the later one', async () => {
      const { first, second, deep } = made.images;
      assert.deepEqual(await imageFacts(dockerd), { ...first, ...second, ...deep });
      assert.notEqual(first['app:1']?.id, second['app:1']?.id);
    });

    it('lists no `<none>`: neither steps of a build, nor the image that another disk took the tag from', async () => {
      assert.equal(await dockerd.cli(['images', '--filter', 'dangling=true', '--no-trunc', '--format', '{{.ID}}']), '');
    });

    it('has a layer once that two disks have under different ids', () => {
      const chains = new Set(
        [made.images.first, made.images.second, made.images.deep].flatMap((images) =>
          Object.values(images).flatMap(({ diffIds }) =>
            diffIds.map((_, number) => diffIds.slice(0, number + 1).join(' ')),
          ),
        ),
      );
      // What is no layer of an image: the empty layer that base layers name in their `lower`.
      const extra = site.layerFolders().length - chains.size;
      assert.ok(
        extra === 0 || extra === 1,
        `expected ${chains.size} layers and at most one helper, found ${site.layerFolders().length} folders`,
      );
    });

    it('runs them, with whiteouts, opaque folders and files written over as they should be', async () => {
      assert.equal(
        await run('base:1', observe.replace(' $(cat /added/file)', '')),
        'kept before [changed deleted kept] [old sub]',
      );
      assert.equal(await run('multi:1', observe), changedFiles);
      assert.equal(await run('left:1', 'cat /side /lower/kept'), 'left\nkept');
      assert.equal(await run('right:1', 'cat /side /lower/kept'), 'right\nkept');
      assert.equal(await run('kit:1', 'cat /kit; ls /lower'), 'kit\nchanged\nkept');
      assert.equal(await run('app:1', 'cat /app'), 'second');
      assert.equal(await run('twelve:1', 'echo $(ls /layers)'), '11 12');
    });

    it('runs an image of 125 layers', async () => {
      assert.equal(await run('deep:1', 'echo $(ls /layers)'), '124 125');
    });

    it('writes over and deletes lower files in a container, and commits that', async () => {
      await dockerd.cli([
        'run',
        '--name',
        'changer',
        '--network',
        'none',
        'multi:1',
        'sh',
        '-c',
        'echo more >> /lower/changed && rm /lower/kept && rm -r /covered && mkdir /covered && echo own > /own',
      ]);
      const changes = (await dockerd.cli(['diff', 'changer'])).split('\n');
      for (const change of ['A /own', 'C /lower/changed', 'D /lower/kept'])
        assert.ok(changes.includes(change), changes.join());
      await dockerd.cli(['commit', 'changer', 'committed:1']);
      assert.equal(
        await run('committed:1', 'echo $(cat /lower/changed) "[$(ls /lower)]" "[$(ls /covered)]" $(cat /own)'),
        'after more [changed] [] own',
      );
      await dockerd.cli(['rm', 'changer']);
    });

    for (const tag of ['base:1', 'multi:1', 'kit:1', 'twelve:1', 'deep:1', 'committed:1']) {
      it(`saves ${tag}: the digest of every layer is its diffID`, async () => {
        for (const { diffId, digest } of await savedLayers(dockerd, tag)) assert.equal(digest, diffId);
      });
    }

    for (const builder of ['classic', 'buildkit'] as const) {
      for (const base of ['base:1', 'multi:1']) {
        it(`builds on ${base} with the ${builder === 'classic' ? 'classic builder' : 'BuildKit'}, and records the change only`, async () => {
          const tag = `on-${base.replace(':1', '')}-${builder}:1`;
          await buildImage(
            dockerd,
            tag,
            `FROM ${base}\nCOPY mine /mine\nRUN rm /lower/kept && echo built > /built\n`,
            builder,
            { mine: 'mine\n' },
          );
          assert.equal(
            await run(tag, 'cat /mine /built; ls /lower'),
            base === 'base:1' ? 'mine\nbuilt\nchanged\ndeleted' : 'mine\nbuilt\nchanged',
          );
          const layers = await savedLayers(dockerd, tag);
          const below = made.images.first[base]?.diffIds ?? [];
          assert.deepEqual(
            layers.slice(0, below.length).map(({ diffId }) => diffId),
            below,
          );
          const names = layers
            .slice(below.length)
            .map((layer) => layer.names.filter((name) => !/^(lower|dev|etc|proc|sys|run)\/?$/.test(name)).sort());
          assert.deepEqual(names, [['mine'], ['built', 'lower/.wh.kept']]);
          for (const { diffId, digest } of layers) assert.equal(digest, diffId);
        });
      }
    }

    it('loads an image that is already there without making a layer', async () => {
      const folders = site.layerFolders();
      const said = await dockerd.cli(['load', '--input', made.multiArchive]);
      assert.match(said, /Loaded image: multi:1/);
      assert.deepEqual(site.layerFolders(), folders);
      assert.equal(await run('multi:1', observe), changedFiles);
    });

    it('pulls from a registry without fetching a preloaded layer', async () => {
      const folder = path.join(site.folder, 'registry');
      await cp(made.registry, folder, { recursive: true });
      const registry = await startRegistry(folder);
      const upper = `${registry.address}/upper:1`;
      const said = await dockerd.cli(['pull', upper]);
      assert.equal(said.match(/: Already exists/g)?.length, made.images.first['multi:1']?.diffIds.length, said);
      assert.equal(said.match(/: Pull complete/g)?.length, 1, said);
      assert.equal(await run(upper, `cat /upper; ${observe}`), `upper\n${changedFiles}`);
      await dockerd.cli(['rmi', upper]);
      await registry.stop();
    });

    it('keeps tags, containers and images of the user over a restart of dockerd with the agent before it', async () => {
      await dockerd.cli(['tag', 'left:1', 'user/tag:1']);
      await dockerd.cli([
        'run',
        '--name',
        'keeper',
        '--network',
        'none',
        '--volume',
        'kept-volume:/volume',
        'multi:1',
        'sh',
        '-c',
        'echo in-container > /lower/kept; test -f /volume/file && cat /volume/file || echo in-volume > /volume/file',
      ]);
      const facts = await imageFacts(dockerd);
      const folders = site.layerFolders();
      await dockerd.stop();
      const { all } = await site.apply();
      assert.deepEqual(site.layerFolders(), folders, all);
      dockerd = await site.start();
      assert.deepEqual(await imageFacts(dockerd), facts);
      assert.equal(await dockerd.cli(['start', '--attach', 'keeper']), 'in-volume');
      assert.equal(
        await dockerd.cli(['cp', 'keeper:/lower/kept', '-'], undefined).then((tar) => tar.includes('in-container')),
        true,
      );
      assert.equal(await run('on-multi-buildkit:1', 'cat /built'), 'built');
    });

    it('removes and prunes images, and has them again when Docker is started next time', async () => {
      await dockerd.cli(['rm', 'keeper']);
      await dockerd.cli(['rmi', 'twelve:1']);
      assert.doesNotMatch(await dockerd.cli(['images', '--format', '{{.Repository}}']), /twelve/);
      await dockerd.cli(['system', 'prune', '--all', '--force']);
      await dockerd.cli(['builder', 'prune', '--all', '--force']);
      assert.equal(await dockerd.cli(['images', '--quiet']), '');
      // The disks are as they were, and Docker works on.
      await dockerd.cli(['load', '--input', made.multiArchive]);
      assert.equal(await run('multi:1', observe), changedFiles);
      await dockerd.stop();
      await site.apply();
      dockerd = await site.start();
      const { first, second, deep } = made.images;
      assert.deepEqual(await imageFacts(dockerd), { ...first, ...second, ...deep });
      assert.equal(await run('twelve:1', 'echo $(ls /layers)'), '11 12');
      assert.equal(await run('multi:1', observe), changedFiles);
      for (const { diffId, digest } of await savedLayers(dockerd, 'multi:1')) assert.equal(digest, diffId);
      await dockerd.stop();
    });
  });
}
