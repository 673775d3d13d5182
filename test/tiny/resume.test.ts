import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { built } from '../../agent/packaging/build-program.ts';
import { askAgent } from '../support/ask-agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { writeDisklessConfig } from '../support/diskless-config.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';

let folder: string;
let runs = 0;

before(async () => {
  folder = (await tempTree('dpl-resume', 'in-memory')).path;
});
after(() => cleanUpAll());

const programOf = (pid: number): string => readlinkSync(`/proc/${pid}/exe`);
const startedAt = (pid: number): string | undefined =>
  readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')[19];
const countOf = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;
const parsed = (text: string): Record<string, unknown> => JSON.parse(text) as Record<string, unknown>;

/** Without what changes while the daemon lives, and not by a run. */
function ofTheRun(status: Record<string, unknown>): unknown {
  const { phase: _phase, phaseSince: _since, phaseSinceUsec: _usec, versions, ...rest } = status;
  return { ...rest, versions: { ...(versions as object), dockerd: undefined } };
}

/**
 * Runs it where no service manager listens, until it is the whole program.
 * @param prepare gets the folder of the status
 */
async function becomesWhole(prepare: (statusFolder: string) => void) {
  runs += 1;
  const own = path.join(folder, String(runs));
  const statusFolder = path.join(own, 'status');
  mkdirSync(statusFolder, { recursive: true });
  prepare(statusFolder);
  const { configFile, socket } = writeDisklessConfig(own, { labels: ['no-such-*', 'absent'], deviceTimeoutSec: 0 });
  const manager = await notifySocket(path.join(own, 'notify.sock'));
  const daemon = spawnDaemon(configFile, own, { NOTIFY_SOCKET: manager.path });
  const started = startedAt(daemon.pid);
  await manager.waitFor('READY=1');
  await until('the whole program', () => programOf(daemon.pid).endsWith(built.whole));
  await until('the socket', () => existsSync(socket));
  assert.equal(startedAt(daemon.pid), started);
  return { daemon, manager, socket, statusFolder };
}

describe('where no service manager listens, the whole program goes on after READY as the same process', () => {
  it('with what the small one has found out, of which nothing is done or told again', async () => {
    const { daemon, manager, socket, statusFolder } = await becomesWhole(() => undefined);
    const published = readFileSync(path.join(statusFolder, 'status.json'), 'utf8');
    await until('the phase', async () => parsed(await askAgent(socket, '/v1/status'))['phase'] === 'watch');
    const status = parsed(await askAgent(socket, '/v1/status'));
    assert.equal(status['state'], 'degraded');
    assert.deepEqual(ofTheRun(status), ofTheRun(parsed(published)));
    assert.equal(await askAgent(socket, '/healthz'), 'degraded');
    assert.equal(readFileSync(path.join(statusFolder, 'status.json'), 'utf8'), published);
    assert.equal(countOf(manager.received(), /READY=1/g), 1, manager.received());
    assert.equal(countOf(daemon.log(), /^degraded: /gm), 1, daemon.log());
    assert.equal(countOf(daemon.log(), /^disk absent: /gm), 1, daemon.log());
    assert.deepEqual(
      readdirSync(statusFolder).filter((name) => name.includes('start')),
      [],
    );
    assert.match(readFileSync(`/proc/${daemon.pid}/cmdline`, 'utf8'), /\0resume\0/);
    assert.equal(await daemon.stop(), 0);
  });

  it('from the beginning, where nothing can be left for it', async () => {
    const { daemon, socket } = await becomesWhole((statusFolder) =>
      mkdirSync(path.join(statusFolder, 'start.json/in-the-way'), { recursive: true }),
    );
    const status = parsed(await askAgent(socket, '/v1/status'));
    assert.equal(status['state'], 'degraded');
    assert.match(readFileSync(`/proc/${daemon.pid}/cmdline`, 'utf8'), /\0run\0/);
    assert.equal(await daemon.stop(), 0);
  });
});
