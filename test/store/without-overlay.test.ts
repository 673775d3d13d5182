import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { execa } from 'execa';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { fixtures } from './fixtures.ts';
import { makeSite } from './site.ts';

describe('a data root on which overlay cannot be mounted', () => {
  after(cleanUpAll);

  for (const version of dockerdVersions) {
    it(`is left as it is, and dockerd ${version} starts`, async () => {
      const made = await fixtures();
      const site = await makeSite(version);
      await site.attach(made.first);
      // overlayfs refuses an upper folder that is on overlayfs itself.
      const [lower, upper, work] = ['lower', 'upper', 'work'].map((name) => path.join(site.folder, name));
      for (const folder of [lower, upper, work]) await mkdir(folder ?? '');
      await execa('mount', ['-t', 'overlay', '-o', `lowerdir=${lower},upperdir=${upper},workdir=${work}`, 'overlay', site.dataRoot]);

      const { exitCode, all } = await site.agent('apply');
      assert.equal(existsSync(path.join(site.dataRoot, 'overlay2')), false);
      assert.ok(exitCode === 0 || exitCode === 3, `expected exit status 0 or 3, got ${String(exitCode)}:\n${all}`);
      assert.match(all, /overlay/);
      const dockerd = await site.start();
      assert.equal(await dockerd.cli(['info', '--format', '{{.Driver}}']), 'vfs');
      await dockerd.stop();
      await site.remove();
    });
  }
});
