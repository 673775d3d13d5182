import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { DaemonConfig } from '../../agent/docker/daemon-config.ts';
import { unsupportedStore } from '../../agent/overlay2/store-choice.ts';
import { agent, type AgentResult } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { dockerdTree, type DockerdVersion } from '../support/dockerd-version.ts';
import { driverOf, mountOn } from './data-filesystem.ts';
import { fixtures } from './fixtures.ts';
import { makeSite, type Site } from './site.ts';

const hasBtrfs = async (): Promise<boolean> => {
  await execa('modprobe', ['btrfs'], { reject: false });
  return /\tbtrfs$/m.test(readFileSync('/proc/filesystems', 'utf8'));
};
const skip = (await hasBtrfs()) ? false : 'this kernel has no btrfs';

/** `apply` in a guest whose only dockerd is this one. */
const applyWith = async (version: DockerdVersion | undefined, { folder }: Site): Promise<AgentResult> => {
  const tree = version === undefined ? undefined : await dockerdTree(version);
  return agent(['apply', '--config', path.join(folder, 'config.json')], {
    PATH: tree?.bin ?? '/nonexistent',
    ...(tree?.lib === undefined ? {} : { LD_LIBRARY_PATH: tree.lib }),
  });
};

describe('a data root on btrfs', { skip }, () => {
  before(() => ensureDebianPackages(['btrfs-progs'], { install: true }));
  after(cleanUpAll);

  const onBtrfs = (site: Site): Promise<() => Promise<void>> => mountOn(site, ['mkfs.btrfs', '-q'], 300);

  for (const { version, takes } of [
    { version: '20.10', takes: 'btrfs' },
    { version: '26.1', takes: 'overlay2' },
    { version: '28.5', takes: 'overlay2' },
  ] as const) {
    it(`that is empty is filled if dockerd takes overlay2 there: ${version} takes ${takes}`, async () => {
      const made = await fixtures();
      const site = await makeSite(version);
      await site.attach(made.first);
      const mountAgain = await onBtrfs(site);

      const first = await applyWith(version, site);
      if (takes === 'overlay2') assert.equal(first.exitCode, 0, first.all);
      else {
        assert.equal(first.exitCode, 3, first.all);
        assert.match(
          first.all,
          /is left alone: dockerd 20\.10\.\S+ chooses the storage driver 'btrfs' on this filesystem; set "storage-driver": "overlay2"/,
        );
        assert.equal(existsSync(path.join(site.dataRoot, 'overlay2')), false);
      }
      const dockerd = await site.start();
      assert.equal(await driverOf(dockerd), takes);
      if (takes === 'overlay2')
        assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'base:1', 'cat', '/lower/kept']), 'kept');
      await dockerd.stop();

      // From then on it keeps to that, whoever is asked.
      await mountAgain();
      const next = await applyWith(undefined, site);
      assert.equal(next.exitCode, takes === 'overlay2' ? 0 : 3, next.all);
      await site.remove();
    });
  }

  it('that is empty is left alone where no dockerd tells its version', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    await site.attach(made.first);
    await onBtrfs(site);
    const { exitCode, all } = await applyWith(undefined, site);
    assert.equal(exitCode, 3, all);
    assert.match(
      all,
      /dockerd before 23\.0 chooses the storage driver 'btrfs' .* is not known; set "storage-driver": "overlay2"/,
    );
    assert.deepEqual(readdirSync(site.dataRoot), []);

    // And what it says helps.
    const dockerConfig = path.join(site.folder, 'daemon.json');
    await writeFile(
      dockerConfig,
      JSON.stringify({ ...(JSON.parse(readFileSync(dockerConfig, 'utf8')) as object), 'storage-driver': 'overlay2' }),
    );
    assert.equal((await applyWith(undefined, site)).exitCode, 0);
    await site.remove();
  });

  it('is filled from 23.0 on, and left alone before, or where the version is not known', async () => {
    const site = await makeSite('28.5');
    await onBtrfs(site);
    const config: DaemonConfig = {
      dataRoot: site.dataRoot,
      storageDriver: undefined,
      usernsRemap: undefined,
      containerdStore: undefined,
      containerd: undefined,
      execRoot: '/var/run/docker',
      hosts: [],
    };
    for (const [version, says] of [
      ['23.0.0', undefined],
      ['24.0.9-1', undefined],
      ['28.5.2+dfsg4', undefined],
      ['100.0.0', undefined],
      ['20.10.24+dfsg1', /^dockerd 20\.10\.24\+dfsg1 chooses/],
      ['22.06.0-beta.0', /chooses/],
      ['1.13.1', /chooses/],
      ['0.0.0-dev', /chooses/],
      ['dev', /is not known/],
      [null, /is not known/],
    ] as const) {
      const found = await unsupportedStore(site.dataRoot, config, () => Promise.resolve(version));
      if (says === undefined) assert.equal(found, undefined, String(version));
      else assert.match(found ?? '', says);
    }
    await site.remove();
  });
});

describe('a data root that a driver was used in which this dockerd no longer has', () => {
  after(cleanUpAll);

  it('is filled, as dockerd 28.5 takes overlay2 there', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    await site.attach(made.first);
    for (const driver of ['aufs', 'overlay', 'devicemapper'])
      await mkdir(path.join(site.dataRoot, driver, 'x'), { recursive: true });
    const unknown = await applyWith(undefined, site);
    assert.equal(unknown.exitCode, 3, unknown.all);
    assert.match(unknown.all, /which dockerd starts here is not known/);
    const { exitCode, all } = await applyWith('28.5', site);
    assert.equal(exitCode, 0, all);
    const dockerd = await site.start();
    assert.equal(await driverOf(dockerd), 'overlay2');
    assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'base:1', 'cat', '/lower/kept']), 'kept');
    await dockerd.stop();
    await site.remove();
  });
});
