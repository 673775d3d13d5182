import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { execa } from 'execa';
import { askAgent } from '../support/ask-agent.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { tryLockFile } from '../../agent/system/lock.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { agent, agentCommand, type AgentResult } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { startDaemon } from '../support/daemon.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { attach, type LoopDevice } from '../support/loop-device.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { loadImages, references } from './fake-store.ts';

const [command, ...args] = agentCommand();

/** Which run of which boot it is decides what is waited for, what is changed, and whose status is told. No dockerd. */
describe('the runs of a boot', () => {
  let folder = '';
  let label = '';
  let disk = '';
  let configFile = '';
  let count = 0;
  before(() => ensureDebianPackages(['socat', 'e2fsprogs', 'systemd'], { install: true }));
  after(cleanUpAll);
  const below = (name: string): string => path.join(folder, name);
  const configure = (more: Readonly<Record<string, unknown>> = {}): void =>
    writeFileSync(
      configFile,
      JSON.stringify({
        labels: [label],
        deviceTimeoutSec: 20,
        dataRoot: below('docker'),
        dockerConfig: below('daemon.json'),
        mountRoot: below('disks'),
        statusSocket: below('run/s.sock'),
        ...more,
      }),
    );
  beforeEach(async () => {
    folder = (await tempTree('dpl-runs')).path;
    label = `r${process.pid.toString(36)}-${count++}`;
    configFile = below('config.json');
    disk = below('disk');
    configure();
    loadImages(below('content'), [{ layers: ['base', 'app'], references: ['app:1'] }]);
    await makeDiskFile(below('content'), disk, label);
  });

  const run = (name: string, ...more: readonly string[]): Promise<AgentResult> =>
    agent([name, '--config', configFile, ...more]);
  const tags = (): string[] => (existsSync(below('docker/image')) ? [...references(below('docker')).keys()] : []);
  const status = (): StatusDocument => JSON.parse(readFileSync(below('run/status.json'), 'utf8')) as StatusDocument;
  /** A daemon until it is READY; `end` stops it. */
  const daemon = async (): Promise<() => Promise<void>> => {
    const running = await startDaemon(configFile, folder);
    await askAgent(below('run/s.sock'), '/healthz');
    return async () => {
      assert.equal(await running.stop(), 0);
    };
  };
  /** What is on storage stays, with the record of another boot; mounts and devices do not. */
  const reboot = async (loop: LoopDevice): Promise<void> => {
    await unmountBelow(below('disks'));
    await loop.detach();
    const record = JSON.parse(readFileSync(below('run/boot.json'), 'utf8')) as { boot: string };
    writeFileSync(
      below('run/boot.json'),
      JSON.stringify({ ...record, boot: record.boot.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) }),
    );
  };

  it('with the status on storage that outlives it: the next boot waits for its disks again, and tells nothing of the one before', async () => {
    const loop = await attach(disk);
    assert.equal((await run('apply')).exitCode, 0);
    const before = status();
    await reboot(loop);
    const { exitCode, stderr } = await run('status');
    assert.deepEqual(
      [exitCode, /no daemon answers/.test(stderr), /status\.json/.test(stderr)],
      [1, true, false],
      stderr,
    );

    const socket = await notifySocket(below('notify'));
    const waiting = execa(command, [...args, 'apply', '--config', configFile], {
      env: { NOTIFY_SOCKET: socket.path },
      reject: false,
      all: true,
    });
    await socket.waitFor(`STATUS=waiting for disk ${label}`);
    assert.deepEqual(tags(), ['app:1']);
    const late = await attach(disk);
    const result = await waiting;
    await socket.close();
    assert.equal(result.exitCode, 0, result.all);
    assert.deepEqual(tags(), ['app:1']);
    assert.ok(status().readyUsec > before.readyUsec);
    assert.deepEqual(
      (JSON.parse(readFileSync(below('run/boot.json'), 'utf8')) as StatusDocument).readyUsec,
      status().readyUsec,
    );
    await unmountBelow(below('disks'));
    await late.detach();
  });

  it('in a second one the daemon fills the store where Docker is stopped, waits for nothing, and keeps the times of the first', async () => {
    configure({ labels: [`${label}*`] });
    await (
      await daemon()
    )();
    assert.deepEqual([tags(), status().state], [[], 'empty']);
    const times = readFileSync(below('run/boot.json'), 'utf8');
    await attach(disk);
    configure({ labels: [label, 'nowhere'] });
    await (
      await daemon()
    )();
    assert.deepEqual([tags(), status().applied, status().pending], [['app:1'], true, []]);
    assert.deepEqual(
      status().timings.filter(({ waitedFor }) => waitedFor !== undefined),
      [],
    );
    assert.equal(readFileSync(below('run/boot.json'), 'utf8'), times);
  });

  it('in a second one the daemon leaves the store alone while dockerd runs', async () => {
    configure({ labels: [`${label}*`] });
    await (
      await daemon()
    )();
    await attach(disk);
    mkdirSync(below('docker/volumes'), { recursive: true });
    writeFileSync(below('docker/volumes/metadata.db'), '');
    const lock = tryLockFile(below('docker/volumes/metadata.db'));
    await (
      await daemon()
    )();
    assert.deepEqual([tags(), status().applied, status().dockerRunning], [[], false, true]);
    assert.ok(lock !== 'held');
    lock.release();
  });

  it('in a second one that a client has started the store is left alone, and the changes are pending', async () => {
    configure({ labels: [`${label}*`] });
    await (
      await daemon()
    )();
    await attach(disk);
    const running = execa(
      'systemd-socket-activate',
      ['--listen', below('activated.sock'), command, ...args, 'run', '--config', configFile],
      { reject: false, env: { PATH: process.env['PATH'] ?? '' } },
    );
    await until('systemd listens', () => existsSync(below('activated.sock')));
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const client = connect(below('activated.sock'), () => client.write('GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n'));
      client
        .setEncoding('utf8')
        .on('data', (chunk: string) => (text += chunk))
        .on('end', () => resolve(text))
        .on('error', reject);
    });
    running.kill('SIGTERM');
    await running;
    assert.match(answer, /"applied":false,.*"pending":\["note in the ledger/);
    assert.deepEqual(tags(), []);
  });

  it('of which `apply` was the only one: `status` tells what it has found, and that no daemon runs', async () => {
    await attach(disk);
    assert.equal((await run('apply')).exitCode, 0);
    const told = await run('status');
    assert.deepEqual([told.exitCode, told.stderr], [0, '']);
    assert.match(
      told.stdout,
      /^no daemon runs: this is what docker-preloader apply found at \d{4}-\d\d-\d\dT\S+Z\nok: 1 disk, 1 image, 2 layers, \d+ changes/,
    );
    const json = await run('status', '--json');
    assert.equal(json.exitCode, 0);
    assert.deepEqual(JSON.parse(json.stdout), status());
    assert.match(json.stderr, /^docker-preloader: no daemon runs: this is what docker-preloader apply found at \S+$/);

    configure({ labels: [label, 'nowhere'], deviceTimeoutSec: 0 });
    assert.equal((await run('apply')).exitCode, 3);
    assert.equal((await run('status')).exitCode, 3);

    // Once a daemon was there it should be there.
    await (
      await daemon()
    )();
    const gone = await run('status');
    assert.deepEqual([gone.exitCode, gone.stdout], [1, '']);
    assert.match(gone.stderr, /no daemon answers on .*; what the last run found is in \S+status\.json$/);
    assert.equal((await run('apply')).exitCode, 3);
    assert.equal((await run('status')).exitCode, 1);
  });

  it('after which the same disk was attached once more: nothing changes, and nothing is planned', async () => {
    writeFileSync(
      below('content/docker-preloader.json'),
      JSON.stringify({ formatVersion: '1.0', createdBy: 'test', images: [], layers: [], metadata: {} }),
    );
    await makeDiskFile(below('content'), disk, label);
    await attach(disk);
    assert.equal((await run('apply')).exitCode, 0);
    const [{ device } = { device: null }] = status().disks;
    for (let twins = 1; twins < 3; twins += 1) {
      await attach(disk);
      const planned = await run('plan');
      assert.deepEqual(
        [planned.exitCode, planned.stdout, [...planned.stderr.matchAll(/^DISK_TWICE: /gm)].length],
        [0, 'nothing to do', twins],
        planned.stderr,
      );
      const applied = await run('apply');
      assert.equal(applied.exitCode, 0, applied.all);
      assert.match(applied.stdout, /^ok: 1 disk, 1 image, 2 layers, nothing to change, /);
      assert.deepEqual([tags(), status().disks[0]?.device], [['app:1'], device]);
    }
  });

  it('in which a disk was replaced while Docker ran: `plan` tells what its next start does, and the start does it', async () => {
    const old = await attach(disk, { copy: true });
    assert.equal((await run('apply')).exitCode, 0);
    loadImages(below('newer'), [{ layers: ['base', 'newer'], references: ['newer:1'] }]);
    await makeDiskFile(below('newer'), below('newer.ext4'), label);
    await attach(below('newer.ext4'));
    // The old one is gone, but for what is mounted of it.
    await old.detach();
    const planned = await run('plan');
    assert.match(planned.stdout, /^untag app:1; tag newer:1 as |^tag newer:1 as .*; untag app:1/m);
    assert.match(planned.stderr, /^DISK_LOST: /);
    assert.deepEqual(tags(), ['app:1']);
    const applied = await run('apply');
    assert.equal(applied.exitCode, 0, applied.all);
    assert.deepEqual(tags(), ['newer:1']);
  });

  it('without any disk: `plan` and `apply` say that none was found, and by which labels', async () => {
    configure({ labels: [`${label}*`], required: [] });
    const none = new RegExp(
      `^no preload disk found: no attached device has a label that matches ${label}\\*; look at: lsblk -o NAME,LABEL,SIZE`,
    );
    const planned = await run('plan');
    assert.deepEqual([planned.exitCode, planned.stderr], [0, '']);
    assert.match(planned.stdout, none);
    assert.match(planned.stdout, /; nothing to do$/);
    const applied = await run('apply');
    assert.equal(applied.exitCode, 0);
    assert.match(applied.stdout, none);
    assert.match(applied.stdout, /\nempty: 0 disks, /);

    // With one, and where one that was there is gone, they tell what is to be done.
    const loop = await attach(disk);
    assert.doesNotMatch((await run('plan')).all, /no preload disk/);
    assert.equal((await run('apply')).exitCode, 0);
    assert.equal((await run('plan')).stdout, 'nothing to do');
    await unmountBelow(below('disks'));
    await loop.detach();
    const gone = await run('plan');
    assert.match(gone.stderr, none);
    assert.match(gone.stdout, /^untag app:1$/m);
  });
});
