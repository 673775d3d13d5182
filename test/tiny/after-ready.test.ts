import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { built } from '../../agent/packaging/build-program.ts';
import { activationSocket } from '../support/activation-socket.ts';
import { askAgent } from '../support/ask-agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { spawnDaemon, startDaemon, type Daemon } from '../support/daemon.ts';
import { writeDisklessConfig, type DisklessConfig } from '../support/diskless-config.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';

const root = path.resolve(import.meta.dirname, '../..');
const small = path.join(root, 'dist', built.small);
const RESIDENT_KB = 5 * 1024;

let folder: string;
let runs = 0;

before(async () => {
  folder = (await tempTree('dpl-after-ready', 'in-memory')).path;
});
after(() => cleanUpAll());

interface Place extends DisklessConfig {
  readonly folder: string;
}

/** A store of its own. */
function place(): Place {
  runs += 1;
  const own = path.join(folder, String(runs));
  mkdirSync(own);
  return { folder: own, ...writeDisklessConfig(own) };
}

/** The small one in a folder of its own, without the other, is what is tested. @returns its path */
function installedAlone(t: TestContext, own: string): string {
  const alone = path.join(own, 'bin/docker-preloader');
  mkdirSync(path.dirname(alone));
  copyFileSync(small, alone);
  const before = process.env['DOCKER_PRELOADER_UNDER_TEST'];
  process.env['DOCKER_PRELOADER_UNDER_TEST'] = alone;
  t.after(() => {
    if (before === undefined) delete process.env['DOCKER_PRELOADER_UNDER_TEST'];
    else process.env['DOCKER_PRELOADER_UNDER_TEST'] = before;
  });
  return alone;
}

const programOf = (pid: number): string => readlinkSync(`/proc/${pid}/exe`);
const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
const residentKb = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
const summaries = (daemon: Daemon): number => daemon.log().match(/^empty: /gm)?.length ?? 0;

/** Asks as soon as it is called, and waits for the answer. */
async function healthOf(socketPath: string): Promise<string> {
  const asked = request({ socketPath, path: '/healthz', agent: false });
  asked.end();
  const [response] = await once(asked, 'response', { signal: AbortSignal.timeout(20_000) });
  let text = '';
  for await (const part of response as AsyncIterable<Buffer>) text += part.toString();
  return text;
}

describe('after READY', () => {
  it('the small one stays, and starts the whole one beside it for clients, for all of whom one is enough', async () => {
    const { configFile, folder: own, socket } = place();
    const daemon = await startDaemon(configFile, own);
    await delay(1500);
    assert.equal(programOf(daemon.pid), small);
    assert.ok(residentKb(daemon.pid) <= RESIDENT_KB, `${residentKb(daemon.pid)} kB`);
    assert.deepEqual(childrenOf(daemon.pid), []);
    const status = JSON.parse(await askAgent(socket, '/v1/status')) as { readonly phase: string };
    assert.equal(status.phase, 'watch');
    const [child = 0, ...more] = childrenOf(daemon.pid);
    assert.deepEqual(
      [path.basename(path.dirname(programOf(child))), more],
      [path.basename(path.dirname(built.whole)), []],
    );
    for (const asked of ['/v1/plan', '/metrics', '/healthz', '/v1/timeline']) await askAgent(socket, asked);
    assert.deepEqual(childrenOf(daemon.pid), [child]);
    assert.equal(programOf(daemon.pid), small);
    assert.ok(residentKb(daemon.pid) <= RESIDENT_KB, `${residentKb(daemon.pid)} kB`);

    process.kill(child, 'SIGKILL');
    assert.equal(await healthOf(socket), 'empty\n');
    const [next = 0] = childrenOf(daemon.pid);
    assert.notEqual(next, child);
    assert.equal(summaries(daemon), 1, daemon.log());
    assert.equal(await daemon.stop(), 0);
    await until('the end of the one that answers', () => !existsSync(`/proc/${next}`));
  });

  it('a client is answered at whatever moment it comes, and nothing is told twice', async () => {
    for (let moment = -1; moment < 60; moment += 4) {
      const { configFile, folder: own, socket } = place();
      const activation = await activationSocket(socket);
      // One that waits before it starts makes it ask whether Docker is starting.
      const early = moment < 0 ? healthOf(socket) : undefined;
      const daemon = spawnDaemon(configFile, own, { LISTEN_FDS: '1' }, activation.fd);
      activation.close();
      await delay(Math.max(1, moment));
      assert.equal(await (early ?? healthOf(socket)), 'empty\n', `after ${moment} ms`);
      assert.equal(await healthOf(socket), 'empty\n');
      assert.equal(programOf(daemon.pid), small);
      assert.equal(summaries(daemon), 1, daemon.log());
      assert.equal(await daemon.stop(), 0);
    }
  });

  it('SIGTERM ends both at whatever moment it comes', async () => {
    for (let moment = 0; moment < 160; moment += 10) {
      const { configFile, folder: own, socket } = place();
      const daemon = await startDaemon(configFile, own);
      const asked = healthOf(socket).catch(() => undefined);
      await delay(moment);
      const children = childrenOf(daemon.pid);
      assert.equal(await daemon.stop(), 0, `after ${moment} ms`);
      await until('the end of those it has started', () => children.every((pid) => !existsSync(`/proc/${pid}`)));
      // Nobody listens any more.
      await asked;
    }
  });

  it('it goes on where the whole one is missing or is not all there, and says so, until it is', async (t) => {
    const { configFile, folder: own, socket } = place();
    const alone = installedAlone(t, own);
    const whole = path.join(own, built.whole);
    mkdirSync(path.dirname(whole), { recursive: true });
    const faults: readonly (readonly [make: () => void, found: string])[] = [
      [() => undefined, 'none that can be started'],
      [() => mkdirSync(whole), 'none that can be started'],
      [() => writeFileSync(whole, ''), 'none that can be started'],
      [() => writeFileSync(whole, '', { mode: 0o755 }), 'a part of it, or that of another version'],
      [() => copyFileSync('/bin/true', whole), 'a part of it, or that of another version'],
    ];
    for (const [make, found] of faults) {
      make();
      const said = new RegExp(
        `expected the rest of this program in ${whole}, found ${found}: install the package as a whole`,
      );
      const { exitCode, stderr } = await execa(alone, ['status'], { reject: false });
      assert.equal(exitCode, 1);
      assert.match(stderr, said);
      const daemon = await startDaemon(configFile, own);
      const asked = healthOf(socket).catch(() => undefined);
      await until('what it says', () => said.test(daemon.log()));
      // Nothing starts over and over meanwhile.
      assert.deepEqual(childrenOf(daemon.pid), []);
      assert.equal(await daemon.stop(), 0);
      await asked;
      rmSync(whole, { recursive: true, force: true });
    }
    const daemon = await startDaemon(configFile, own);
    const asked = healthOf(socket);
    await until('what it says', () => daemon.log().includes('install the package as a whole'));
    copyFileSync(path.join(root, 'dist', built.whole), whole);
    assert.equal(await asked, 'empty\n');
    assert.equal(programOf(daemon.pid), alone);
    assert.equal(await daemon.stop(), 0);
  });

  it('begins anew as what is installed, where that has been upgraded meanwhile, and stays where it was removed', async (t) => {
    const { configFile, folder: own, socket } = place();
    const alone = installedAlone(t, own);
    const whole = path.join(own, built.whole);
    mkdirSync(path.dirname(whole), { recursive: true });
    copyFileSync(path.join(root, 'dist', built.whole), whole);
    const daemon = await startDaemon(configFile, own);
    const upgrade = `${alone}.new`;
    copyFileSync(small, upgrade);
    renameSync(upgrade, alone);
    assert.equal(programOf(daemon.pid), `${alone} (deleted)`);
    assert.equal(await healthOf(socket), 'empty\n');
    assert.equal(programOf(daemon.pid), alone);
    assert.equal(summaries(daemon), 2, daemon.log());
    // Whoever has begun so was not started by a client, though one waits.
    assert.match(readFileSync(`/proc/${daemon.pid}/environ`, 'utf8'), /(^|\0)DOCKER_PRELOADER_BEGUN_ANEW=1\0/);
    rmSync(alone);
    for (const child of childrenOf(daemon.pid)) process.kill(child, 'SIGKILL');
    assert.equal(await healthOf(socket), 'empty\n');
    // As before it had tried to be another program.
    assert.equal(await daemon.stop(), 0);
  });

  it('dockerd is asked for its version once, whichever process answers, and again where it is another one', async () => {
    const { configFile, folder: own, socket } = place();
    const bin = path.join(own, 'dockerd-bin');
    mkdirSync(bin);
    const asked = (): number => (existsSync(`${bin}/asked`) ? readFileSync(`${bin}/asked`, 'utf8').length : 0);
    const install = (version: string): void => {
      const text = `#!/bin/sh\nprintf x >>${bin}/asked\necho 'Docker version ${version}, build 1'\n`;
      writeFileSync(`${bin}/dockerd.new`, text, { mode: 0o755 });
      renameSync(`${bin}/dockerd.new`, `${bin}/dockerd`);
    };
    const versionNow = async (): Promise<unknown> =>
      (JSON.parse(await askAgent(socket, '/v1/status')) as { readonly versions: { readonly dockerd: unknown } })
        .versions.dockerd;
    install('1.2.3');
    const pathBefore = process.env['PATH'];
    process.env['PATH'] = `${bin}:${pathBefore}`;
    try {
      const daemon = await startDaemon(configFile, own);
      await delay(1000);
      const pids = new Set<number>();
      for (const [version, times] of [
        ['1.2.3', 1],
        ['1.2.3', 1],
        ['1.2.4', 2],
        ['1.2.4', 2],
      ] as const) {
        if (version !== '1.2.3' && asked() === 1) install(version);
        assert.equal(await versionNow(), version);
        assert.equal(asked(), times);
        const [child = 0] = childrenOf(daemon.pid);
        pids.add(child);
        process.kill(child, 'SIGHUP');
        await until('its end', () => childrenOf(daemon.pid).length === 0);
      }
      assert.equal(pids.size, 4);
      assert.equal(await daemon.stop(), 0);
    } finally {
      process.env['PATH'] = pathBefore;
    }
  });

  it('needs no PATH', async () => {
    const { configFile, folder: own, socket } = place();
    const activation = await activationSocket(socket);
    const config = openSync(configFile, 'r');
    const shell = ['-c', 'export LISTEN_PID=$$ PATH=; exec "$@"', 'sh', small, 'run', '--config', '/dev/fd/4'];
    const daemon = spawn('sh', shell, {
      stdio: ['ignore', 'ignore', 'ignore', activation.fd, config],
      env: { ...process.env, LISTEN_FDS: '1' },
      cwd: own,
    });
    activation.close();
    closeSync(config);
    const ended = once(daemon, 'exit');
    try {
      assert.equal(await healthOf(socket), 'empty\n');
    } finally {
      daemon.kill('SIGKILL');
      await ended;
    }
  });
});
