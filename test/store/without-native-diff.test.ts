import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { buildImage, changedFiles, observe } from '../support/images.ts';
import { withoutNativeDiff } from '../support/native-diff.ts';
import { type Fixtures, fixtures } from './fixtures.ts';
import { layerFolder } from './layer-folder.ts';
import { savedLayers } from './saved-image.ts';
import { makeSite, type Site } from './site.ts';

for (const version of dockerdVersions) {
  describe(`dockerd ${version} without native overlay diff`, () => {
    let made: Fixtures;
    let site: Site;
    let dockerd: Dockerd;
    /** The names that a build on the single-layer `base:1` records. */
    const build = async (tag: string, builder: 'classic' | 'buildkit'): Promise<readonly (readonly string[])[]> => {
      await buildImage(dockerd, tag, 'FROM base:1\nCOPY mine /mine\nRUN rm /lower/kept\n', builder, {
        mine: `${tag}\n`,
      });
      assert.equal(
        await dockerd.cli(['run', '--rm', '--network', 'none', tag, 'sh', '-c', 'cat /mine; ls /lower']),
        `${tag}\nchanged\ndeleted`,
      );
      const [base, ...own] = await savedLayers(dockerd, tag);
      assert.equal(base?.diffId, made.images.first['base:1']?.diffIds[0]);
      return own.map(({ names }) => names.filter((name) => !/^(lower|dev|etc|proc|sys|run)\/?$/.test(name)).sort());
    };

    before(async () => {
      made = await fixtures();
      site = await makeSite(version);
      await site.attach(made.first);
      await site.apply();
      dockerd = await withoutNativeDiff(() => site.start());
      assert.match(await dockerd.cli(['info']), /Native Overlay Diff: false/);
    });
    after(cleanUpAll);

    for (const builder of ['buildkit', 'classic'] as const) {
      it(`records only the change of a build on a single-layer image, with ${builder}`, async () => {
        assert.deepEqual(await build(`${builder}:1`, builder), [['mine'], ['lower/.wh.kept']]);
      });
    }

    it('runs, saves, removes and prunes', async () => {
      assert.equal(
        await dockerd.cli(['run', '--rm', '--network', 'none', 'multi:1', 'sh', '-c', observe]),
        changedFiles,
      );
      for (const tag of ['base:1', 'multi:1', 'buildkit:1']) {
        for (const { diffId, digest } of await savedLayers(dockerd, tag)) assert.equal(digest, diffId);
      }
      await dockerd.cli(['rmi', 'buildkit:1', 'classic:1', 'left:1']);
      await dockerd.cli(['builder', 'prune', '--all', '--force']);
      await dockerd.cli(['image', 'prune', '--force']);
      assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'base:1', 'cat', '/lower/kept']), 'kept');
    });

    it('would record the whole base, were it not for the `lower` of the base layer', async () => {
      await dockerd.stop();
      const base = layerFolder(site.dataRoot, made.images.first['base:1']?.diffIds ?? []);
      await rm(path.join(base, 'lower'));
      dockerd = await withoutNativeDiff(() => site.start());
      const [copied] = await build('uncured:1', 'buildkit');
      assert.ok(
        copied?.includes('bin/busybox'),
        `the fault that the cure is for does not show: ${String(copied?.join())}`,
      );
      await dockerd.stop();
      // The next start of Docker has the cure again.
      await site.apply();
      dockerd = await withoutNativeDiff(() => site.start());
      assert.deepEqual(await build('cured:1', 'buildkit'), [['mine'], ['lower/.wh.kept']]);
      await dockerd.stop();
    });
  });
}
