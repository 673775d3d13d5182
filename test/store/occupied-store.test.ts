import assert from 'node:assert/strict';
import { lstatSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { changedFiles, observe } from '../support/images.ts';
import { type Fixtures, fixtures, imageFacts } from './fixtures.ts';
import { layerFolder } from './layer-folder.ts';
import { makeSite, type Site } from './site.ts';

for (const version of dockerdVersions) {
  describe(`dockerd ${version} on a store that already has images and containers`, () => {
    let made: Fixtures;
    let site: Site;
    let dockerd: Dockerd;
    const restart = async (expected?: number): Promise<string> => {
      await dockerd.stop();
      const { all } = await site.apply(expected);
      dockerd = await site.start();
      return all;
    };

    before(async () => {
      made = await fixtures();
      site = await makeSite(version);
      dockerd = await site.start();
      await dockerd.cli(['load', '--input', made.multiArchive]);
      await dockerd.cli(['load', '--input', made.userArchive]);
      await dockerd.cli([
        'run',
        '--name',
        'user',
        '--network',
        'none',
        '--volume',
        'user-volume:/volume',
        'multi:1',
        'sh',
        '-c',
        'echo own > /lower/kept; test -f /volume/file && cat /volume/file || echo in-volume > /volume/file',
      ]);
    });
    after(cleanUpAll);

    it("adds the disks' images and keeps the user's tags, layers and containers", async () => {
      await site.attach(made.first);
      await site.attach(made.second);
      const folders = site.layerFolders();
      const output = await restart();
      assert.match(output, /app:1/, 'the tag that the user and the disks claim is reported');
      const { first, second, user } = made.images;
      assert.deepEqual(await imageFacts(dockerd), { ...first, ...second, ...user });
      assert.ok(folders.every((folder) => site.layerFolders().includes(folder)));
      // The user had these layers: they stay real folders, and nothing is linked for them.
      for (const number of [1, 2, 3, 4]) {
        const folder = layerFolder(site.dataRoot, (first['multi:1']?.diffIds ?? []).slice(0, number));
        assert.ok(lstatSync(path.join(folder, 'diff')).isDirectory(), folder);
      }
      assert.equal(await dockerd.cli(['start', '--attach', 'user']), 'in-volume');
      assert.equal(
        await dockerd.cli(['run', '--rm', '--network', 'none', 'multi:1', 'sh', '-c', observe]),
        changedFiles,
      );
      assert.equal(
        await dockerd.cli(['run', '--rm', '--network', 'none', 'left:1', 'cat', '/side', '/lower/kept']),
        'left\nkept',
      );
      assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'app:1', 'cat', '/app']), 'user');
    });

    it('keeps repositories.json private to root', () => {
      const file = path.join(site.dataRoot, 'image/overlay2/repositories.json');
      assert.equal(lstatSync(file).mode & 0o777, 0o600);
      assert.ok(
        Object.keys((JSON.parse(readFileSync(file, 'utf8')) as { Repositories: object }).Repositories).length > 0,
      );
    });

    it('keeps, and names, what a container of the user stands on when its disk is gone, and has it back with the disk', async () => {
      await dockerd.cli([
        'create',
        '--name',
        'stander',
        '--network',
        'none',
        'twelve:1',
        'sh',
        '-c',
        'echo $(ls /layers)',
      ]);
      await dockerd.stop();
      await site.detach(made.first);
      const { all } = await site.agent('apply');
      dockerd = await site.start();
      assert.match(all, /twelve:1|stander|-first/, 'what is kept, or what it needs, is named');
      assert.match(await dockerd.cli(['ps', '--all', '--format', '{{.Names}}']), /stander/);
      assert.doesNotMatch(await dockerd.cli(['images', '--format', '{{.Repository}}']), /left|right/);

      await site.attach(made.first);
      await restart();
      assert.equal(await dockerd.cli(['start', '--attach', 'stander']), '11 12');
      await dockerd.cli(['rm', 'stander']);
    });

    it("has nothing but the user's once the disks are gone", async () => {
      await dockerd.stop();
      await site.detach(made.first);
      await site.detach(made.second);
      await site.apply();
      dockerd = await site.start();
      const { user, first } = made.images;
      const facts = await imageFacts(dockerd);
      assert.deepEqual(Object.keys(facts).sort(), ['app:1', 'base:1', 'mine:1', 'multi:1']);
      assert.deepEqual(facts['app:1'], user['app:1']);
      assert.deepEqual(facts['multi:1'], first['multi:1']);
      assert.equal(await dockerd.cli(['start', '--attach', 'user']), 'in-volume');
      await dockerd.stop();
    });
  });
}

describe('a tag that the user and a disk claim, with `conflicts` set to `disk`', () => {
  after(cleanUpAll);

  it("is the disk's", async () => {
    const made = await fixtures();
    const site = await makeSite('28.5', { conflicts: 'disk' });
    const earlier = await site.start();
    await earlier.cli(['load', '--input', made.userArchive]);
    await earlier.stop();
    await site.attach(made.first);
    await site.apply();
    const dockerd = await site.start();
    assert.equal((await imageFacts(dockerd))['app:1']?.id, made.images.first['app:1']?.id);
    assert.equal((await imageFacts(dockerd))['mine:1']?.id, made.images.user['mine:1']?.id);
    await dockerd.stop();
  });
});
