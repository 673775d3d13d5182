import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { built } from '../../agent/packaging/build-program.ts';
import { makeSite } from '../store/site.ts';
import { startDaemon as startOnSite } from '../store/site-daemon.ts';
import { askAgent } from '../support/ask-agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type Daemon, spawnDaemon, startDaemon } from '../support/daemon.ts';
import { makeDisk } from '../support/disk.ts';
import { writeDisklessConfig, type DisklessConfig } from '../support/diskless-config.ts';
import { ask, PRUNE_ALL } from '../support/docker-api.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { sample } from '../support/size.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { makeSanitized, sanitizerEnv, sanitizerWords } from './sanitized.ts';

const NAMES = Array.from({ length: 8 }, (_, number) => `some:${number}`);
const { whole } = built;

let folder: string;
let runs = 0;

const at = (name: string): string => path.join(folder, name);

before(async () => {
  folder = (await tempTree('dpl-sanitized-daemon', 'in-memory')).path;
  await makeSanitized('agent/tiny/main.ts', at(built.small));
  mkdirSync(path.dirname(at(whole)), { recursive: true });
  install();
  Object.assign(process.env, sanitizerEnv, { DOCKER_PRELOADER_UNDER_TEST: at(built.small) });
});
after(() => cleanUpAll());

function install(): void {
  rmSync(at(whole), { force: true });
  symlinkSync(path.resolve(import.meta.dirname, '../../dist', whole), at(whole));
}

/** A store of its own, without a disk. */
function place(): DisklessConfig & { readonly own: string } {
  runs += 1;
  const own = at(String(runs));
  mkdirSync(own);
  return { own, ...writeDisklessConfig(own) };
}

const programOf = (pid: number): string => readlinkSync(`/proc/${pid}/exe`);
const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);

const countOf = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;

/** Ends it by SIGTERM. */
async function endsWell(daemon: Daemon, when: string): Promise<void> {
  assert.equal(programOf(daemon.pid), at(built.small));
  assert.equal(await daemon.stop(), 0, `${when}: ${daemon.log()}`);
  assert.doesNotMatch(daemon.log(), sanitizerWords, when);
}

describe('the daemon under AddressSanitizer and UndefinedBehaviorSanitizer', () => {
  it('has clients, and the one that answers is killed', async () => {
    const { own, configFile, socket } = place();
    const daemon = await startDaemon(configFile, own);
    for (let round = 0; round < 5; round += 1) {
      for (const asked of ['/healthz', '/v1/status', '/v1/plan']) await askAgent(socket, asked);
      const [child = 0] = childrenOf(daemon.pid);
      process.kill(child, round % 2 === 0 ? 'SIGKILL' : 'SIGHUP');
      await until('its end', () => !childrenOf(daemon.pid).includes(child));
    }
    await endsWell(daemon, 'after clients');
  });

  it('has clients where the other program cannot be started, and where it can again', async () => {
    const { own, configFile, socket } = place();
    rmSync(at(whole));
    writeFileSync(at(whole), 'this is no program');
    chmodSync(at(whole), 0o755);
    const daemon = await startDaemon(configFile, own);
    const asked = askAgent(socket, '/healthz');
    await until('what it says', () => daemon.log().includes('clients are not answered'));
    install();
    assert.equal(await asked, 'empty');
    await endsWell(daemon, 'after what could not be started');
  });

  it('is ended by SIGTERM at any moment', async () => {
    for (const moment of sample([0, 3, 10, 30, 60, 100, 150, 200, 400, 800], 5)) {
      const { own, configFile, socket } = place();
      const daemon = await startDaemon(configFile, own);
      const asked = ask(socket, 'GET', '/healthz').catch(() => undefined);
      await delay(moment);
      const children = childrenOf(daemon.pid);
      await endsWell(daemon, `after ${moment} ms`);
      await until('the end of those it has started', () => children.every((pid) => !existsSync(`/proc/${pid}`)));
      rmSync(socket);
      await asked;
    }
  });

  it('becomes the other program where no service manager listens', async () => {
    const { own, configFile, socket } = place();
    const daemon = spawnDaemon(configFile, own, {});
    await until(
      'the other program',
      () => programOf(daemon.pid) === path.resolve(import.meta.dirname, '../../dist', whole),
    );
    await until('the socket', () => existsSync(socket));
    assert.equal(await askAgent(socket, '/healthz'), 'empty');
    assert.equal(await daemon.stop(), 0);
    assert.doesNotMatch(daemon.log(), sanitizerWords);
  });

  it('gives back what prunes take, while clients ask', async () => {
    const archive = await dockerArchive(
      NAMES.map((name) => ({ tags: [name], layers: [[{ name: 'app', content: name }]] })),
    );
    const disk = await makeDisk(at('disk.ext4'), archive);
    const site = await makeSite('28.5');
    await site.attach(disk);
    const daemon = await startOnSite(site);
    const dockerd = await site.start();
    try {
      await daemon.follows(dockerd);
      for (let round = 0; round < 3; round += 1) {
        assert.equal((await ask(dockerd.socket, 'POST', PRUNE_ALL)).status, 200);
        await ask(path.join(site.folder, 'status/status.sock'), 'GET', '/v1/status');
        await until(`all back in round ${round}`, async () => {
          if (countOf(daemon.log(), /images that a prune took are back/g) <= round) return false;
          const { body } = await ask(dockerd.socket, 'GET', '/images/json');
          const images = JSON.parse(body.toString()) as { readonly RepoTags: readonly string[] }[];
          return images.length === NAMES.length && images.every(({ RepoTags: tags }) => tags.length === 1);
        });
      }
      await endsWell(daemon, 'after prunes');
    } finally {
      await dockerd.kill();
      await site.remove();
    }
  });
});
