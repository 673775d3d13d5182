import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { discoverAwaited } from '../../agent/boot/wait.ts';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { scratch } from '../support/temp-tree.ts';

/** Folders in the place of devices, because a test can make them come. No label is looked for. */
const configOf = (sources: readonly string[], deviceTimeoutSec: number): Config => ({
  ...defaultConfig(),
  labels: [],
  sources,
  deviceTimeoutSec,
});

/** A folder that nobody but root can enter, as a source has to be. */
const source = (t: TestContext): string => path.join(scratch(t), 'late');

describe('waiting for disks', () => {
  it('ends at once where none is missing', async (t) => {
    const folder = source(t);
    mkdirSync(folder, { mode: 0o700 });
    const told: string[] = [];
    const { disks, missing } = await discoverAwaited(configOf([folder], 60), (what) => told.push(what));
    assert.deepEqual([[...disks.keys()], missing, told], [['late'], [], []]);
  });

  it('ends soon after the last one has come', async (t) => {
    const folder = source(t);
    const told: string[] = [];
    let cameMs = Number.NaN;
    setTimeout(() => {
      mkdirSync(folder, { mode: 0o700 });
      cameMs = performance.now();
    }, 300);
    const { disks, missing } = await discoverAwaited(configOf([folder], 60), (what) => told.push(what));
    const lateMs = performance.now() - cameMs;
    assert.deepEqual([[...disks.keys()], missing], [['late'], []]);
    assert.ok(lateMs >= 0 && lateMs < 5_000, `found ${lateMs} ms after it came`);
    assert.ok(told.length > 0);
    assert.deepEqual([...new Set(told)], [`disk ${folder}`]);
  });

  it('ends after `deviceTimeoutSec`, with what has not come', async (t) => {
    const folder = source(t);
    const begunMs = performance.now();
    const { disks, missing } = await discoverAwaited(configOf([folder], 0.4), () => undefined);
    const tookMs = performance.now() - begunMs;
    assert.deepEqual([[...disks.keys()], missing], [[], [folder]]);
    assert.ok(tookMs >= 400 && tookMs < 5_000, `took ${tookMs} ms`);
  });

  it('looks once where `deviceTimeoutSec` is 0', async (t) => {
    const folder = source(t);
    const told: string[] = [];
    const { missing } = await discoverAwaited(configOf([folder], 0), (what) => told.push(what));
    assert.deepEqual([missing, told], [[folder], []]);
  });

  it('tells the service manager for what, and that it takes longer than that', async (t) => {
    const folder = source(t);
    const socket = await notifySocket(path.join(scratch(t), 'notify'));
    const before = process.env['NOTIFY_SOCKET'];
    process.env['NOTIFY_SOCKET'] = socket.path;
    t.after(async () => {
      if (before === undefined) delete process.env['NOTIFY_SOCKET'];
      else process.env['NOTIFY_SOCKET'] = before;
      await cleanUpAll();
    });
    await discoverAwaited(configOf([folder], 0.4), () => undefined);
    // 1 s, rounded up, and 30 s that are ours.
    await socket.waitFor(`STATUS=waiting for disk ${folder}, at most 1 s\nEXTEND_TIMEOUT_USEC=31000000`);
  });
});
