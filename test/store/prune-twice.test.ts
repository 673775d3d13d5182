import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { sample } from '../support/size.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { ask, PRUNE_ALL } from '../support/docker-api.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { leavesNothing, leavesNothingBut, unfinishedImages } from './leaves-nothing.ts';
import { makeSite, type Site } from './site.ts';
import { type SiteDaemon, startDaemon } from './site-daemon.ts';

const ALL = Array.from({ length: 40 }, (_, number) => `many:${number}`).toSorted();

let disk: string;

before(async () => {
  const archive = await dockerArchive(
    ALL.map((name) => ({ tags: [name], layers: [[{ name: 'app', content: name }]] })),
  );
  disk = await makeDisk(path.join((await tempTree('dpl-twice')).path, 'disk.ext4'), archive);
});
after(cleanUpAll);

async function call(dockerd: Dockerd, method: string, at: string): Promise<string> {
  const { status, body } = await ask(dockerd.socket, method, at);
  assert.ok([200, 201].includes(status), `${method} ${at}: ${status} ${body.toString()}`);
  return body.toString();
}

/** Images by their names, those without as `<none>`. */
async function namesOf(dockerd: Dockerd): Promise<string[]> {
  const images = JSON.parse(await call(dockerd, 'GET', '/images/json')) as {
    readonly RepoTags: readonly string[] | null;
  }[];
  return images.flatMap(({ RepoTags: tags }) => (tags === null || tags.length === 0 ? ['<none>'] : tags)).toSorted();
}

/** Whether the agent brings something back now. */
function isRestoring(site: Site): boolean {
  return readFileSync(path.join(site.dataRoot, 'docker-preloader/ledger.json'), 'utf8').includes('"next":');
}

/** Passes on what dockerd is asked and tells, but keeps questions whether it prunes, and events, until they may go. */
function holding(
  place: string,
  socket: string,
  until: { readonly answer: () => Promise<void>; readonly events: () => Promise<void> },
): Server {
  return createServer((client) => {
    const through = createConnection(socket);
    let [asked, told] = [Promise.resolve(), Promise.resolve()];
    let isEvents = false;
    client.on('data', (bytes: Buffer) => {
      const request = bytes.toString('latin1');
      if (request.startsWith('GET /events')) isEvents = true;
      const may = /^POST \S+prune/.test(request) ? until.answer : (): Promise<void> => Promise.resolve();
      asked = asked.then(may).then(() => void through.write(bytes));
    });
    through.on('data', (bytes: Buffer) => {
      const may = isEvents ? until.events : (): Promise<void> => Promise.resolve();
      told = told.then(may).then(() => void client.write(bytes));
    });
    for (const [one, other] of [
      [client, through],
      [through, client],
    ] as const)
      one.on('close', () => other.destroy()).on('error', () => other.destroy());
  }).listen(place);
}

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

  const back = (...names: readonly string[]): Promise<number> =>
    until(`${names.length} names back`, async () => JSON.stringify(await namesOf(dockerd)) === JSON.stringify(names));

  it('is back, also where removals are respected, of which it is none', async () => {
    await call(dockerd, 'DELETE', '/images/many:0');
    await delay(100);
    await call(dockerd, 'POST', PRUNE_ALL);
    await back(...ALL.filter((name) => name !== 'many:0'));
    await dockerd.stop();
    await daemon.stop();
    await site.apply();
    dockerd = await site.start();
    assert.deepEqual(
      await namesOf(dockerd),
      ALL.filter((name) => name !== 'many:0'),
    );
  });

  it('is back as a whole when the next prune takes some of it before all have their names', async () => {
    for (const afterMs of sample([0, 50, 100, 200, 300, 400], 2)) {
      await call(dockerd, 'POST', PRUNE_ALL);
      await until('the first of them', async () => (await namesOf(dockerd)).length > 0);
      await delay(afterMs);
      await call(dockerd, 'POST', PRUNE_ALL);
      await back(...ALL);
      await delay(500);
      assert.deepEqual(await namesOf(dockerd), ALL, `pruned again after ${afterMs} ms`);
    }
    await daemon.stop();
    await dockerd.stop();
    await leavesNothing(site, disk);
  });

  it("comes with Docker's next start where dockerd or the agent is killed, and goes with the disk", async () => {
    for (const [victim, afterMs] of sample(
      [
        ['dockerd', 0],
        ['agent', 300],
        ['dockerd', 150],
        ['agent', 150],
        ['dockerd', 400],
        ['agent', 500],
      ] as const,
      2,
    )) {
      await call(dockerd, 'POST', PRUNE_ALL);
      await until('the agent is at work', () =>
        readFileSync(path.join(site.dataRoot, 'docker-preloader/ledger.json'), 'utf8').includes('"next":'),
      );
      await delay(afterMs);
      await (victim === 'agent' ? daemon.stop('SIGKILL') : dockerd.kill());
      await (victim === 'agent' ? dockerd.stop() : delay(500));
      await daemon.stop();
      const unfinished = unfinishedImages(site);
      await site.apply();
      dockerd = await site.start();
      assert.deepEqual(await namesOf(dockerd), ALL, `${victim} killed after ${afterMs} ms`);
      await dockerd.stop();
      await leavesNothingBut(unfinished, site, disk);
      await site.attach(disk);
      daemon = await startDaemon(site);
      dockerd = await site.start();
      await daemon.follows(dockerd);
    }
  });

  for (const { removed, answered } of [
    { removed: undefined, answered: 'in time' },
    { removed: undefined, answered: 'late' },
    { removed: 'many:7', answered: 'late' },
  ] as const) {
    const what = removed === undefined ? 'is back as a whole' : 'is back but for what an `rmi` removed in between';
    it(`${what} when the next prune comes before the agent knows that it was, and dockerd answers it ${answered}`, async () => {
      const place = path.join(site.folder, 'held.sock');
      let [answer, events] = [Promise.resolve(), Promise.resolve()];
      const server = holding(place, dockerd.socket, { answer: () => answer, events: () => events });
      try {
        await daemon.stop();
        await site.configure({ removedImages: 'respect', dockerHost: `unix://${place}` });
        daemon = await startDaemon(site);
        await daemon.follows(dockerd);
        const [answering, telling] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        if (answered === 'late') answer = answering.promise;
        await call(dockerd, 'POST', PRUNE_ALL);
        await until('the agent is at work', () => isRestoring(site));
        events = telling.promise;
        await back(...ALL);
        answering.resolve();
        if (removed !== undefined) {
          await call(dockerd, 'DELETE', `/images/${removed}`);
          // It is to be heard of, and asked about, before the next prune.
          telling.resolve();
          events = Promise.resolve();
          await delay(300);
        }
        await call(dockerd, 'POST', PRUNE_ALL);
        telling.resolve();
        events = Promise.resolve();
        const expected = ALL.filter((name) => name !== removed);
        await back(...expected);
        await until('the end of it', () => !isRestoring(site) && daemon.log().includes('are back'));
        await delay(500);
        assert.deepEqual(await namesOf(dockerd), expected);
        assert.doesNotMatch(daemon.log(), /when Docker next starts/);
        await dockerd.stop();
        await daemon.stop();
        await site.apply();
        dockerd = await site.start();
        assert.deepEqual(await namesOf(dockerd), expected);
      } finally {
        server.close();
      }
    });
  }

  it('keeps no name that the user gives to something else in the same moment', async () => {
    await dockerd.cli(
      ['load'],
      await dockerArchive([{ tags: ['his:1'], layers: [[{ name: 'app', content: 'his' }]] }]),
    );
    await dockerd.cli(['create', '--network', 'none', 'his:1', 'app']);
    const place = path.join(site.folder, 'between.sock');
    const wanted = new Set(['many:7', 'many:23']);
    // dockerd has it from the user right before it has it from the agent, which has seen that the name is free.
    const server = createServer((client) => {
      const through = createConnection(dockerd.socket);
      through.pipe(client).on('error', () => through.destroy());
      client.on('close', () => through.destroy());
      client.on('data', (bytes: Buffer) => {
        const tag = /^POST \S+\/tag\?repo=many&tag=(\d+) /.exec(bytes.toString('latin1'))?.[1];
        if (tag === undefined || !wanted.delete(`many:${tag}`)) return void through.write(bytes);
        void call(dockerd, 'POST', `/images/his:1/tag?repo=many&tag=${tag}`).then(() => through.write(bytes));
      });
    }).listen(place);
    try {
      await daemon.stop();
      await site.configure({ dockerHost: `unix://${place}` });
      daemon = await startDaemon(site);
      await daemon.follows(dockerd);
      await call(dockerd, 'POST', PRUNE_ALL);
      await back('his:1', ...ALL);
      await delay(500);
      assert.equal(wanted.size, 0);
      const idOf = (name: string): Promise<string> => dockerd.cli(['image', 'inspect', '--format', '{{.Id}}', name]);
      assert.deepEqual([await idOf('many:7'), await idOf('many:23')], [await idOf('his:1'), await idOf('his:1')]);
      await daemon.stop();
      await dockerd.stop();
      await site.detach(disk);
      await site.apply();
      dockerd = await site.start();
      assert.deepEqual(await namesOf(dockerd), ['his:1', 'many:23', 'many:7']);
    } finally {
      server.close();
    }
  });

  it('is said to be removed where removals are respected and the ledger cannot be written', async () => {
    const folder = path.join(site.dataRoot, 'docker-preloader');
    await execa('mount', ['--bind', folder, folder]);
    await execa('mount', ['-o', 'remount,bind,ro', folder]);
    await call(dockerd, 'POST', PRUNE_ALL);
    await until('a line about it', () => daemon.log().includes('that a prune took'));
    assert.match(
      daemon.log(),
      /40 images and 40 names that a prune took count as removed \(`removedImages`: respect\): /,
    );
    await execa('umount', [folder]);
    await dockerd.stop();
    await site.apply();
    dockerd = await site.start();
    assert.deepEqual(await namesOf(dockerd), []);
  });

  it('does not hold dockerd up when it is to end', async () => {
    const start = performance.now();
    await dockerd.stop();
    const took = performance.now() - start;
    assert.ok(took < 3000, `${took} ms`);
  });
});
