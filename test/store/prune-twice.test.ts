import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { Store } from '../../agent/docker/store.ts';
import { sample } from '../safety/size.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { tempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';
import { type SiteDaemon, startDaemon, until } from './site-daemon.ts';

const ALL = Array.from({ length: 40 }, (_, number) => `many:${number}`).toSorted();
const PRUNE = `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`;

let disk: string;

before(async () => {
  disk = path.join((await tempTree('dpl-twice')).path, 'disk.ext4');
  await writeFile(`${disk}.tar`, await dockerArchive(ALL.map((name) => ({ tags: [name], layers: [[{ name: 'app', content: name }]] }))));
  const { exitCode, all } = await agent(['build', `${disk}.tar`, '-o', disk, '--format', 'raw', '--quiet']);
  assert.equal(exitCode, 0, all);
});
after(cleanUpAll);

/** A call of dockerd's API without the time that its CLI takes to start. */
function call(dockerd: Dockerd, method: string, at: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: dockerd.socket, method, path: at }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text)).on('end', () => (response.statusCode === 200 ? resolve(body) : reject(new Error(body))));
    });
    asked.on('error', reject).end();
  });
}

/** Images by their names, those without as `<none>`. */
async function namesOf(dockerd: Dockerd): Promise<string[]> {
  const images = JSON.parse(await call(dockerd, 'GET', '/images/json')) as { readonly RepoTags: readonly string[] | null }[];
  return images.flatMap(({ RepoTags: tags }) => (tags === null || tags.length === 0 ? ['<none>'] : tags)).toSorted();
}

const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('dockerd 28.5: what a prune takes, and what happens while it comes back', () => {
  let site: Site;
  let daemon: SiteDaemon;
  let dockerd: Dockerd;

  beforeEach(async () => {
    site = await makeSite('28.5', { removedImages: 'respect' });
    await site.attach(disk);
    daemon = await startDaemon(site);
    dockerd = await site.start();
    await daemon.follows(dockerd);
  });
  afterEach(async () => {
    await daemon.stop('SIGKILL');
    await dockerd.kill();
    await site.remove();
  });

  const back = (...names: readonly string[]): Promise<number> => until(`${names.length} names back`, async () => JSON.stringify(await namesOf(dockerd)) === JSON.stringify(names));

  async function leavesNothing(): Promise<void> {
    await site.detach(disk);
    await site.apply();
    const paths = metadataPaths(site.dataRoot);
    assert.deepEqual([...readdirSync(paths.containers), ...readdirSync(paths.images), ...site.layerFolders(), ...new Store(site.dataRoot).layers], []);
  }

  it('is back, also where removals are respected, of which it is none', async () => {
    await call(dockerd, 'DELETE', '/images/many:0');
    await wait(100);
    await call(dockerd, 'POST', PRUNE);
    await back(...ALL.filter((name) => name !== 'many:0'));
    await dockerd.stop();
    await daemon.stop();
    await site.apply();
    dockerd = await site.start();
    assert.deepEqual(await namesOf(dockerd), ALL.filter((name) => name !== 'many:0'));
  });

  it('is back as a whole when the next prune takes some of it before all have their names', async () => {
    for (const afterMs of sample([0, 50, 100, 200, 300, 400], 2)) {
      await call(dockerd, 'POST', PRUNE);
      await until('the first of them', async () => (await namesOf(dockerd)).length > 0);
      await wait(afterMs);
      await call(dockerd, 'POST', PRUNE);
      await back(...ALL);
      await wait(500);
      assert.deepEqual(await namesOf(dockerd), ALL, `pruned again after ${afterMs} ms`);
    }
    await daemon.stop();
    await dockerd.stop();
    await leavesNothing();
    assert.equal(existsSync(path.join(site.dataRoot, 'docker-preloader/ledger.json')), false);
  });

  it('comes with Docker\'s next start where dockerd or the agent is killed, and goes with the disk', async () => {
    for (const [victim, afterMs] of sample([['dockerd', 0], ['agent', 300], ['dockerd', 150], ['agent', 150], ['dockerd', 400], ['agent', 500]] as const, 2)) {
      await call(dockerd, 'POST', PRUNE);
      await until('the agent is at work', async () => readFileSync(path.join(site.dataRoot, 'docker-preloader/ledger.json'), 'utf8').includes('"next":'));
      await wait(afterMs);
      await (victim === 'agent' ? daemon.stop('SIGKILL') : dockerd.kill());
      await (victim === 'agent' ? dockerd.stop() : wait(500));
      await daemon.stop();
      await site.apply();
      dockerd = await site.start();
      assert.deepEqual(await namesOf(dockerd), ALL, `${victim} killed after ${afterMs} ms`);
      await dockerd.stop();
      await leavesNothing();
      await site.attach(disk);
      daemon = await startDaemon(site);
      dockerd = await site.start();
      await daemon.follows(dockerd);
    }
  });

  it('does not hold dockerd up when it is to end', async () => {
    const start = performance.now();
    await dockerd.stop();
    const took = performance.now() - start;
    assert.ok(took < 3000, `${took} ms`);
  });
});
