import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { preload } from '../../agent/boot/preload.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { scratch } from '../support/temp-tree.ts';
import { configOf, FakeGuest, runDockerd } from './fake-guest.ts';
import { factsOf, must, loadImages, references, type ImageSpec } from './fake-store.ts';
import { readTree } from '../support/tree.ts';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import { describeStep } from '../../agent/overlay2/plan/steps.ts';
import { required } from '../support/required.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'], source: 'docker.io/library/app' };
const mine: ImageSpec = { layers: ['mine'], references: ['mine:1'] };

describe('a boot on a store of which something cannot be read', () => {
  it('says what, and changes nothing', async (t) => {
    const folder = scratch(t);
    const guest = new FakeGuest(folder);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const file = `${metadataPaths(guest.dataRoot).layer(must(factsOf(app).chains[0]))}/cache-id`;
    rmSync(file);
    mkdirSync(file);
    const found = readTree(guest.dataRoot);
    const config = {
      ...defaultConfig(),
      labels: ['none-of-these'],
      deviceTimeoutSec: 0,
      dataRoot: guest.dataRoot,
      dockerConfig: path.join(folder, 'none'),
      mountRoot: path.join(folder, 'mounts'),
    };
    const { findings, applied } = await preload(config, { wait: false, change: 'stopped', quiet: true });
    assert.equal(applied, false);
    assert.deepEqual(
      findings
        .filter(({ code }) => code === 'STORE_INVALID' || code === 'INTERNAL')
        .map(({ code, message }) => [code, message]),
      [
        [
          'STORE_INVALID',
          `${guest.dataRoot} is left as it is: ${file}: it is a folder; mend what it names, or move it away`,
        ],
      ],
    );
    rmSync(`${guest.dataRoot}/docker-preloader/lock`);
    assert.deepEqual(readTree(guest.dataRoot), found);
  });
});

describe('a run', () => {
  it('without disks takes out what was preloaded; while dockerd runs it changes nothing and lists it', async (t) => {
    const guest = new FakeGuest(scratch(t));
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const dockerd = runDockerd(guest.dataRoot);
    const before = readTree(guest.dataRoot);
    const waiting = await preload(configOf(guest), { wait: false, change: 'stopped' });
    assert.deepEqual(
      [waiting.isDockerRunning, waiting.applied, waiting.findings.map((finding) => finding.code)],
      [true, false, ['DOCKER_RUNNING']],
    );
    assert.match(
      waiting.plan?.steps.map((step) => describeStep(step)).join('\n') ?? '',
      /untag app:1\nremove distribution\/.*\nremove image sha256:[0-9a-f]{12}\nremove layer sha256:[0-9a-f]{12}\n.*remove the empty layer\nremove the ledger$/s,
    );
    assert.deepEqual(readTree(guest.dataRoot), before);
    dockerd.stop();
    assert.equal((await preload(configOf(guest), { wait: false, change: 'never' })).applied, false);
    assert.deepEqual(readTree(guest.dataRoot), before);
    const done = await preload(configOf(guest), { wait: false, change: 'stopped' });
    assert.deepEqual([done.applied, done.findings], [true, []]);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1']);
  });

  it('turns what goes wrong into findings, each with what was expected', async (t) => {
    const guest = new FakeGuest(scratch(t));
    const codes = async (change: Partial<Config>): Promise<string[]> =>
      (await preload({ ...configOf(guest), ...change }, { wait: false, change: 'stopped' })).findings
        .map((finding) => finding.code)
        .filter((code) => code !== 'DEVICE_UNREADABLE');
    assert.deepEqual(await codes({ mountRoot: path.join(guest.dataRoot, 'disks') }), ['CONFIG_INVALID']);
    assert.deepEqual(await codes({ labels: ['named'] }), ['DISK_MISSING']);
    assert.deepEqual(await codes({ required: required('base', 'must-*') }), ['REQUIRED_MISSING', 'REQUIRED_MISSING']);
    mkdirSync(path.join(guest.dataRoot, 'btrfs/subvolumes'), { recursive: true });
    assert.deepEqual(await codes({}), ['STORE_UNSUPPORTED']);
  });
});
