import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { execa } from 'execa';
import { overlayProblem } from '../../agent/overlay2/store-choice.ts';
import { mountOverlay, unmount } from '../../agent/system/mount.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { driverOf, mountOn } from './data-filesystem.ts';
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
      await execa('mount', [
        '-t',
        'overlay',
        '-o',
        `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
        'overlay',
        site.dataRoot,
      ]);

      const { exitCode, all } = await site.agent('apply');
      assert.equal(existsSync(path.join(site.dataRoot, 'overlay2')), false);
      assert.ok(exitCode === 0 || exitCode === 3, `expected exit status 0 or 3, got ${String(exitCode)}:\n${all}`);
      assert.match(all, /overlay/);
      const dockerd = await site.start();
      assert.equal(await driverOf(dockerd), 'vfs');
      await dockerd.stop();
      await site.remove();
    });
  }
});

describe('a data root whose filesystem does not tell the types of entries', () => {
  after(cleanUpAll);

  for (const version of dockerdVersions) {
    it(`is left as it is, says why, and dockerd ${version} starts with what it takes there`, async () => {
      const made = await fixtures();
      const site = await makeSite(version);
      await site.attach(made.first);
      const mountAgain = await mountOn(site, ['mkfs.ext4', '-q', '-O', '^filetype']);

      const { all } = await site.apply(3);
      assert.match(
        all,
        /is left alone: overlay2 does not work on .*: its filesystem was made without d_type support; make it anew with it/,
      );
      assert.deepEqual(
        site.status().findings.map(({ code }) => code),
        ['STORE_UNSUPPORTED'],
      );
      assert.deepEqual(readdirSync(site.dataRoot).sort(), ['docker-preloader', 'lost+found']);
      const dockerd = await site.start();
      assert.equal(await driverOf(dockerd), 'vfs');
      await dockerd.stop();
      await mountAgain();
      // Nor does what dockerd has made there change that.
      assert.ok(existsSync(path.join(site.dataRoot, 'image/vfs')));
      assert.match((await site.apply(3)).all, /d_type/);
      await site.remove();
    });
  }

  it('is filled where dockerd 20.10 runs there with overlay2 since it was of another kind', async () => {
    const made = await fixtures();
    const site = await makeSite('20.10');
    await site.attach(made.first);
    await mountOn(site, ['mkfs.ext4', '-q', '-O', '^filetype']);
    await mkdir(path.join(site.dataRoot, 'overlay2/l'), { recursive: true });
    await site.apply();
    const dockerd = await site.start();
    assert.equal(await driverOf(dockerd), 'overlay2');
    assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'base:1', 'cat', '/lower/kept']), 'kept');
    await dockerd.stop();
    await site.remove();
  });

  it('is left as it is where that is a filesystem for overlay2/ alone, as dockerd asks there', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    await site.attach(made.first);
    // dockerd would hide what is mounted there, were the data root not on a shared mount as with systemd (moby,
    // setupDaemonRootPropagation).
    await execa('mount', ['--bind', site.dataRoot, site.dataRoot]);
    await execa('mount', ['--make-shared', site.dataRoot]);
    const overlay = path.join(site.dataRoot, 'overlay2');
    await mkdir(overlay);
    await mountOn({ ...site, dataRoot: overlay }, ['mkfs.ext4', '-q', '-O', '^filetype']);
    await rmdir(path.join(overlay, 'lost+found'));
    assert.match((await site.apply(3)).all, /d_type/);
    assert.deepEqual(readdirSync(overlay), []);
    const dockerd = await site.start();
    assert.equal(await driverOf(dockerd), 'vfs');
    await dockerd.stop();
    await site.remove();
  });
});

describe('a data root that cannot be written to', () => {
  after(cleanUpAll);

  it('is said to be so', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    await site.attach(made.first);
    await mountOn(site, ['mkfs.ext4', '-q']);
    await execa('mount', ['-o', 'remount,ro', site.dataRoot]);
    assert.match(
      (await site.apply(1)).all,
      /expected a data root that can be written to: [^\n]*the filesystem is read-only/,
    );
    assert.deepEqual(
      site.status().findings.map(({ code }) => code),
      ['STORE_WRITE'],
    );
    await site.remove();
  });
});

describe('the trial of overlay on an empty data root', () => {
  after(cleanUpAll);

  it('does not wait for what others have written to its filesystem', async (test) => {
    const site = await makeSite('28.5');
    await mountOn(site, ['mkfs.ext4', '-q', '-E', 'lazy_itable_init=0'], 1000);
    const writtenMb = (): number => (statSync(path.join(site.folder, 'data.img')).blocks * 512) / 1e6;
    await execa('sync', ['-f', site.dataRoot]);
    const before = writtenMb();
    await writeFile(path.join(site.dataRoot, 'waiting'), randomBytes(400e6));
    const trialMs = timeOf(() => assert.equal(overlayProblem(site.dataRoot), undefined));
    const afterTrial = writtenMb() - before;
    const paths = ['lower', 'upper', 'work', 'merged'].map((name) => path.join(site.dataRoot, name)) as [
      string,
      string,
      string,
      string,
    ];
    for (const folder of paths) await mkdir(folder);
    const [lower, upper, work, merged] = paths;
    const plainMs = timeOf(() => {
      mountOverlay(merged, { lower: [lower], upper, work, volatile: false });
      unmount(merged);
    });
    const afterPlain = writtenMb() - before;
    test.diagnostic(
      `400 MB to be written: trial ${trialMs.toFixed(1)} ms and ${afterTrial.toFixed(0)} MB written, as dockerd does it ${plainMs.toFixed(1)} ms and ${afterPlain.toFixed(0)} MB; ratio ${(trialMs / plainMs).toFixed(3)}`,
    );
    assert.ok(afterPlain > 300, 'nothing was left to be written: the test shows nothing');
    assert.ok(afterTrial < 100);
    assert.ok(trialMs < plainMs / 3);
    assert.deepEqual(readdirSync(site.dataRoot).sort(), ['lost+found', 'lower', 'merged', 'upper', 'waiting', 'work']);
    await site.remove();
  });

  for (const option of ['volatile', 'plain'] as const) {
    it(`that was killed while it was mounted (${option}) is cleared by the next run`, async () => {
      const made = await fixtures();
      const site = await makeSite('28.5');
      await site.attach(made.first);
      const trial = path.join(site.dataRoot, 'docker-preloader-trial');
      const [lower, upper, work, merged] = ['lower1', 'upper', 'work', 'merged'].map((name) =>
        path.join(trial, `${name}-${option}`),
      ) as [string, string, string, string];
      for (const folder of [lower, upper, work, merged]) await mkdir(folder, { recursive: true });
      mountOverlay(merged, { lower: [lower], upper, work, volatile: option === 'volatile' });
      await site.apply();
      assert.equal(existsSync(trial), false);
      await site.remove();
    });
  }
});

function timeOf(action: () => void): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}
