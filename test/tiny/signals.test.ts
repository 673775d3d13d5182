import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { spawn, type ChildProcess } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { built } from '../../agent/packaging/build-program.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { writeDisklessConfig } from '../support/diskless-config.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';

const root = path.resolve(import.meta.dirname, '../..');
const small = path.join(root, 'dist', built.small);

let folder: string;
let runs = 0;

before(async () => {
  folder = (await tempTree('dpl-signals', 'in-memory')).path;
});
after(() => cleanUpAll());

/** Starts `run` on a store of its own. */
function start(config: object): ChildProcess {
  runs += 1;
  const own = path.join(folder, String(runs));
  mkdirSync(own);
  return spawn(small, ['run', '--config', writeDisklessConfig(own, config).configFile], { stdio: 'ignore' });
}

/** How it has ended: by itself with a status, or by a signal. */
async function endOf(child: ChildProcess): Promise<unknown> {
  const [status, signal] = await once(child, 'exit', { signal: AbortSignal.timeout(30_000) });
  return status ?? signal;
}

describe('SIGTERM', () => {
  it('ends the wait for a device at once', async () => {
    const child = start({ labels: ['absent'], deviceTimeoutSec: 600 });
    await delay(500);
    assert.equal(readlinkSync(`/proc/${child.pid}/exe`), small);
    child.kill('SIGTERM');
    assert.equal(await endOf(child), 0);
  });

  it('ends it at any moment, also where it has just become the other one', async () => {
    for (let moment = 0; moment < 40; moment += 1) {
      const child = start({});
      await delay(moment);
      child.kill('SIGTERM');
      assert.ok([0, 'SIGTERM'].includes((await endOf(child)) as number | string), `after ${moment} ms`);
    }
  });
});

it('the whole program begins with no signal blocked or ignored that was not before', async () => {
  const child = start({});
  await until('the whole program', () => readlinkSync(`/proc/${child.pid}/exe`).endsWith(built.whole));
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  assert.match(status, /^SigBlk:\t0+$/m);
  child.kill('SIGKILL');
  await endOf(child);
});
