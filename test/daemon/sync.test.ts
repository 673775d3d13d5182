import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import { emptyLedger, readLedger, writeLedger } from '../../agent/overlay2/ledger.ts';
import { preload } from '../../agent/boot/preload.ts';
import { describeStep } from '../../agent/overlay2/plan/steps.ts';
import { syncStore } from '../../agent/overlay2/sync-store.ts';
import { unlinkStore } from '../../agent/boot/unlink-store.ts';
import { tryLockFile } from '../../agent/system/lock.ts';
import { required } from '../support/required.ts';
import { scratch } from '../support/scratch.ts';
import { FakeGuest } from '../boot/fake-guest.ts';
import { imageProblems, loadImages, references, snapshot, type ImageSpec } from '../boot/fake-store.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'], source: 'docker.io/library/app' };
const built: ImageSpec = { layers: ['base', 'app', 'built'], references: ['built:1'] };
const mine: ImageSpec = { layers: ['mine'], references: ['mine:1'] };

const configOf = (guest: FakeGuest): Config => ({
  ...defaultConfig(),
  labels: [],
  dataRoot: guest.dataRoot,
  mountRoot: path.dirname(guest.diskPath('x')),
  dockerConfig: '/nonexistent/daemon.json',
});

/** As a running dockerd does: a lock on the volumes' database. */
function runDockerd(dataRoot: string): { stop(): void } {
  mkdirSync(path.join(dataRoot, 'volumes'), { recursive: true });
  const lock = tryLockFile(path.join(dataRoot, 'volumes/metadata.db'));
  assert.ok(lock !== 'held');
  return { stop: () => lock.release() };
}

describe('syncing', () => {
  it('notes in the ledger that all has reached the disk, and nothing else changes', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    const before = readLedger(guest.dataRoot).ledger;
    assert.equal(before.synced, false);
    await syncStore(guest.dataRoot);
    assert.deepEqual(readLedger(guest.dataRoot).ledger, { ...before, synced: true });
    assert.deepEqual(guest.plan().steps, []);
  });

  it('says nothing of a run that was killed, and makes no ledger where there is none', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot(3);
    await syncStore(guest.dataRoot);
    assert.equal(readLedger(guest.dataRoot).ledger.synced, false);
    const empty = path.join(scratch(t), 'docker');
    await syncStore(empty);
    assert.equal(readLedger(empty).state, 'none');
  });

  it('is undone by the next change', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    await syncStore(guest.dataRoot);
    guest.attach('dpl-b', [{ layers: ['more'], references: ['more:1'] }]);
    guest.boot();
    assert.equal(readLedger(guest.dataRoot).ledger.synced, false);
  });
});

describe('unlinking', () => {
  it("takes out all that is ours, and keeps what the user stands on, with the disk's name", async (t) => {
    const guest = new FakeGuest(scratch(t));
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const { steps, findings } = await unlinkStore(configOf(guest));
    assert.ok(steps > 0);
    assert.deepEqual(findings, []);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1']);
    assert.deepEqual(imageProblems(guest.dataRoot, mine), []);
    assert.equal((await unlinkStore(configOf(guest))).steps, 0);

    guest.boot();
    loadImages(guest.dataRoot, [built]);
    const kept = await unlinkStore(configOf(guest));
    assert.deepEqual(
      kept.findings.map((finding) => finding.code),
      ['KEPT'],
    );
    // The disk is still there: what stands on it works on.
    assert.deepEqual(imageProblems(guest.dataRoot, built), []);
    assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), ['built:1', 'mine:1']);
  });

  it('knows the disk of what it keeps also when the ledger is lost: that stays mounted', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    loadImages(guest.dataRoot, [built]);
    rmSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
    const { findings } = await unlinkStore(configOf(guest));
    assert.deepEqual(
      findings.map((finding) => [finding.code, finding.label]),
      [['KEPT', 'dpl-a']],
    );
  });

  it('keeps no removals in mind', async (t) => {
    const guest = new FakeGuest(scratch(t));
    writeLedger(guest.dataRoot, { ...emptyLedger, removed: new Map([['app:1', `sha256:${'a'.repeat(64)}` as never]]) });
    await unlinkStore({ ...configOf(guest), removedImages: 'respect' });
    assert.equal(readLedger(guest.dataRoot).state, 'none');
  });

  it('refuses while dockerd runs, in one line, and changes nothing', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    const dockerd = runDockerd(guest.dataRoot);
    const before = snapshot(guest.dataRoot);
    await assert.rejects(unlinkStore(configOf(guest)), {
      code: 'DOCKER_RUNNING',
      message: /^dockerd is running on .*: a stopped one expected; run: systemctl stop docker\.socket docker$/,
    });
    assert.deepEqual(snapshot(guest.dataRoot), before);
    dockerd.stop();
  });

  it('makes nothing where there is no data root', async (t) => {
    const guest = new FakeGuest(scratch(t));
    assert.deepEqual(await unlinkStore(configOf(guest)), { steps: 0, findings: [] });
  });
});

describe('a run', () => {
  it('without disks takes out what was preloaded; while dockerd runs it changes nothing and lists it', async (t) => {
    const guest = new FakeGuest(scratch(t));
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const dockerd = runDockerd(guest.dataRoot);
    const before = snapshot(guest.dataRoot);
    const waiting = await preload(configOf(guest), { wait: false, change: 'stopped' });
    assert.deepEqual(
      [waiting.isDockerRunning, waiting.applied, waiting.findings.map((finding) => finding.code)],
      [true, false, ['DOCKER_RUNNING']],
    );
    assert.match(
      waiting.plan?.steps.map((step) => describeStep(step)).join('\n') ?? '',
      /untag app:1\nremove distribution\/.*\nremove image sha256:[0-9a-f]{12}\nremove layer sha256:[0-9a-f]{12}\n.*remove the empty layer\nremove the ledger$/s,
    );
    assert.deepEqual(snapshot(guest.dataRoot), before);
    dockerd.stop();
    assert.equal((await preload(configOf(guest), { wait: false, change: 'never' })).applied, false);
    assert.deepEqual(snapshot(guest.dataRoot), before);
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
