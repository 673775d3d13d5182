import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { defaultConfig } from '../../agent/config/config.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import { publish } from '../../agent/status/publish.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { serveStatus } from '../../agent/status/server.ts';
import { factsOf, loadImages } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { app, aRun, later } from '../status/a-run.ts';

const [command, ...args] = agentCommand();
describe('`status --watch`', () => {
  let folder: string;
  let config: string;
  let watcher: ChildProcessByStdio<null, Readable, Readable>;
  let daemon: Daemon;
  const printed: StatusDocument[] = [];

  const printedOnce = async (what: string, look: (status: StatusDocument) => boolean): Promise<void> => {
    for (let tries = 0; !printed.some(look); tries += 1) {
      if (tries > 200)
        assert.fail(
          `expected ${what}, found ${printed.map(({ phase, summary }) => `${phase}: ${summary}`).join('\n')}`,
        );
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
    writeFileSync(
      config,
      JSON.stringify({
        labels: [label],
        dataRoot: path.join(folder, 'docker'),
        mountRoot: path.join(folder, 'disks'),
        dockerConfig: path.join(folder, 'daemon.json'),
        statusSocket: path.join(folder, 'run/s.sock'),
      }),
    );
    daemon = await startDaemon(config, folder);
    watcher = spawn(command, [...args, 'status', '--json', '--watch', '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
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
    await daemon.stop();
    await unmountBelow(folder);
    await cleanUpAll();
  });

  it('prints until the daemon is at its last phase', () =>
    printedOnce('the last phase', ({ phase }) => phase === 'watch'));

  /**
   * A watch of a status that answers with what it is made of, by the number of the request.
   * @param before the command that runs it
   */
  const watchOf = async (
    t: TestContext,
    name: string,
    make: (requests: number) => object,
    before: readonly string[] = [],
  ): Promise<{
    readonly socketPath: string;
    readonly other: ChildProcessByStdio<null, Readable, null>;
    readonly requests: () => number;
  }> => {
    const socketPath = path.join(folder, name, 's.sock');
    let requests = 0;
    const body = (): string => JSON.stringify(make(++requests));
    const server = await serveStatus(
      { path: socketPath, fd: undefined },
      { '/v1/status': { type: 'application/json', body } },
    );
    writeFileSync(path.join(folder, `${name}.json`), JSON.stringify({ statusSocket: socketPath }));
    const other = spawn(
      'env',
      [...before, command, ...args, 'status', '--json', '--watch', '--config', path.join(folder, `${name}.json`)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    t.after(() => {
      other.kill('SIGKILL');
      server.close();
    });
    return { socketPath, other, requests: () => requests };
  };

  // Too much is watched already: in a user namespace of its own the kernel lets it watch nothing (inotify(7)).
  const unwatched = [
    'unshare',
    '--user',
    '--map-root-user',
    'sh',
    '-c',
    'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"',
    'sh',
  ] as const;
  for (const [where, before] of [
    ['', []],
    [', also where it can watch nothing', unwatched],
  ] as const) {
    it(`asks nobody while nothing changes, and once for what is published${where}`, async (t) => {
      const run = aRun(t);
      const { socketPath, other, requests } = await watchOf(
        t,
        `other-${before.length}`,
        () => ({ ...statusDocument(run, later(run, 1)), phase: 'watch' }),
        before,
      );
      await once(other.stdout, 'data');
      await delay(3000);
      assert.equal(requests(), 1);
      publish({ ...defaultConfig(), statusSocket: socketPath }, statusDocument(run, later(run, 2)), 'run');
      for (let tries = 0; requests() < 2 && tries < 100; tries += 1) await delay(50);
      await delay(1000);
      assert.equal(requests(), 2);
    });
  }

  it('asks no more while its reader hangs', async (t) => {
    const run = aRun(t);
    const { socketPath, other, requests } = await watchOf(t, 'hung', (number) => ({
      ...statusDocument(run, later(run, number)),
      phase: 'watch',
      dataRoot: '/x'.repeat(500_000),
    }));
    // What is read ahead of anybody who asks for it is less than one status.
    await once(other.stdout, 'readable');
    for (let change = 0; change < 20; change += 1) {
      writeFileSync(path.join(path.dirname(socketPath), 'status.json'), String(change));
      await delay(150);
    }
    assert.ok(requests() <= 2, `${requests()} requests`);
    other.stdout.resume();
    for (let tries = 0; requests() < 3 && tries < 100; tries += 1) {
      writeFileSync(path.join(path.dirname(socketPath), 'status.json'), `again ${tries}`);
      await delay(50);
    }
    assert.ok(requests() >= 3);
  });

  it('prints again when the store changes', async () => {
    rmSync(metadataPaths(path.join(folder, 'docker')).image(factsOf(app).id));
    await printedOnce('a removed image', ({ images }) => images[0]?.code === 'REMOVED');
  });

  it('goes on over a restart of the daemon', async () => {
    const count = printed.length;
    await daemon.stop();
    daemon = await startDaemon(config, folder);
    await printedOnce('another status', (status) => printed.indexOf(status) >= count && status.phase === 'watch');
    assert.equal(watcher.exitCode, null);
  });

  it('ends when nobody reads it any more', async () => {
    const ended = once(watcher, 'exit');
    watcher.stdout.destroy();
    assert.deepEqual(await Promise.race([ended, delay(5000).then(() => 'still there')]), [0, null]);
  });
});
