import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { factsOf, loadImages } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { app } from './a-run.ts';

const [command, ...args] = agentCommand();
/** The clock ticks that a process has had, of 10 ms: user's and system's (proc_pid_stat(5)). */
const ticksOf = (pid: number | undefined): number => {
  const fields = readFileSync(`/proc/${String(pid)}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

describe('`status --watch`', () => {
  let folder: string;
  let config: string;
  let watcher: ChildProcessByStdio<null, Readable, Readable>;
  let stopDaemon: () => Promise<void>;
  const printed: StatusDocument[] = [];

  const startDaemon = (): void => {
    const daemon = execa(command, [...args, 'run', '--config', config], { reject: false, buffer: false, stdio: 'ignore' });
    stopDaemon = cleanUpLater('the daemon', async () => {
      daemon.kill('SIGTERM');
      await daemon;
    });
  };
  const printedOnce = async (what: string, look: (status: StatusDocument) => boolean): Promise<void> => {
    for (let tries = 0; !printed.some(look); tries += 1) {
      if (tries > 200) assert.fail(`${what} expected, found ${printed.map(({ phase, summary }) => `${phase}: ${summary}`).join('\n')}`);
      await delay(50);
    }
  };

  before(async () => {
    ({ path: folder } = await tempTree('dpl-watch'));
    const label = `w${process.pid.toString(36)}`;
    loadImages(path.join(folder, 'tree'), [app]);
    await makeDiskFile(path.join(folder, 'tree'), path.join(folder, 'disk.ext4'), label);
    await attach(path.join(folder, 'disk.ext4'));
    config = path.join(folder, 'config.json');
    writeFileSync(config, JSON.stringify({ labels: [label], dataRoot: path.join(folder, 'docker'), mountRoot: path.join(folder, 'disks'), dockerConfig: path.join(folder, 'daemon.json'), statusSocket: path.join(folder, 'run/s.sock') }));
    startDaemon();
    await delay(500);
    watcher = spawn(command, [...args, 'status', '--json', '--watch', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    cleanUpLater('the watch', () => void watcher.kill('SIGKILL'));
    let text = '';
    watcher.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      printed.push(...lines.map((line) => JSON.parse(line) as StatusDocument));
    });
  });
  after(async () => {
    await stopDaemon();
    await unmountBelow(folder);
    await cleanUpAll();
  });

  it('prints until the daemon is at its last phase', () => printedOnce('the last phase', ({ phase }) => phase === 'watch'));

  it('asks nobody while nothing changes', async (t) => {
    await delay(1000);
    const [start, count] = [ticksOf(watcher.pid), printed.length];
    await delay(5000);
    const ticks = ticksOf(watcher.pid) - start;
    t.diagnostic(`${ticks} ticks of CPU time in 5 s`);
    assert.ok(ticks <= 2, `2 ticks of 500 expected at most, found ${ticks}`);
    assert.equal(printed.length, count);
  });

  it('prints again when the store changes', async () => {
    rmSync(metadataPaths(path.join(folder, 'docker')).image(factsOf(app).id));
    await printedOnce('a removed image', ({ images }) => images[0]?.code === 'REMOVED');
  });

  it('goes on over a restart of the daemon', async () => {
    const count = printed.length;
    await stopDaemon();
    startDaemon();
    await printedOnce('another status', (status) => printed.indexOf(status) >= count && status.phase === 'watch');
    assert.equal(watcher.exitCode, null);
  });

  it('ends when nobody reads it any more', async () => {
    const ended = once(watcher, 'exit');
    watcher.stdout.destroy();
    assert.deepEqual(await Promise.race([ended, delay(5000).then(() => 'still there')]), [0, null]);
  });
});
