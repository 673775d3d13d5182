import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import path from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Store } from '../../agent/overlay2/store/store.ts';
import { built } from '../../agent/packaging/build-program.ts';
import { askAgent } from '../support/ask-agent.ts';
import { sample, torture } from '../support/size.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { ask, PRUNE_ALL } from '../support/docker-api.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { buildImage } from '../support/images.ts';
import { makeLegacyDisk } from '../support/legacy-disk.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { leavesNothing } from './leaves-nothing.ts';
import { archiveOf, image, says, tagsOf, untilTags } from './said-images.ts';
import { makeSite, type Site } from './site.ts';
import { type SiteDaemon, startDaemon } from './site-daemon.ts';

const root = path.resolve(import.meta.dirname, '../..');

let folder: string;
let disk: string;

before(async () => {
  folder = (await tempTree('dpl-corners')).path;
  disk = await makeDisk(
    path.join(folder, 'disk.ext4'),
    await archiveOf(image('one', 'app:1', 'app:latest'), image('two', 'app:2')),
  );
});
after(cleanUpAll);

const ALL = ['app:1', 'app:2', 'app:latest'];

/** @returns the status of the answer */
const call = async (dockerd: Dockerd, method: string, at: string, body?: Uint8Array): Promise<number> =>
  (await ask(dockerd.socket, method, at, body)).status;

describe('dockerd 28.5: a prune, and what else happens', () => {
  let site: Site;
  let daemon: SiteDaemon;
  let dockerd: Dockerd;

  beforeEach(async () => {
    site = await makeSite('28.5');
  });
  afterEach(async () => {
    await daemon.stop('SIGKILL');
    await dockerd.kill();
    await site.remove();
  });

  async function boot(): Promise<void> {
    daemon = await startDaemon(site);
    dockerd = await site.start();
    await daemon.follows(dockerd);
  }

  const back = (...tags: readonly string[]): Promise<number> => untilTags(dockerd, ...tags);

  async function ends(...disks: readonly string[]): Promise<void> {
    await daemon.stop('SIGKILL');
    await dockerd.stop();
    await leavesNothing(site, ...disks);
  }

  it('a hundred images are back in time', async () => {
    const names = Array.from({ length: 100 }, (_, number) => `many:${number}`);
    const many = await makeDisk(
      path.join(folder, 'many.ext4'),
      await archiveOf(...names.map((name) => image(name, name))),
    );
    await site.attach(many);
    await boot();
    assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
    const took = await back(...names);
    assert.ok(took < 5000, `${took} ms`);
    assert.equal(await says(dockerd, 'many:42'), 'many:42');
    assert.match(daemon.log(), /100 images that a prune took are back: many:0, /);
    assert.equal((await site.agent('verify')).exitCode, 0);
    await ends(many);
  });

  it('is back where another disk, which has come since, claims its name, and goes to that when Docker next starts', async () => {
    const other = await makeDisk(path.join(folder, 'other.ext4'), await archiveOf(image('other', 'app:2')));
    await site.configure({ labels: [site.labelOf('*')] });
    await site.attach(disk);
    await boot();
    await site.attach(other);
    assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
    assert.ok((await back(...ALL)) < 5000);
    assert.equal(await says(dockerd, 'app:2'), 'two');
    await dockerd.stop();
    await site.apply();
    dockerd = await site.start();
    assert.equal(await says(dockerd, 'app:2'), 'other');
    await ends(disk, other);
  });

  it(
    'is back where the package was upgraded since, and a client has had the new one begin',
    { skip: !torture },
    async (t) => {
      const alone = path.join(site.folder, 'bin/docker-preloader');
      const whole = path.join(site.folder, built.whole);
      for (const file of [alone, whole]) mkdirSync(path.dirname(file), { recursive: true });
      copyFileSync(path.join(root, 'dist', built.small), alone);
      copyFileSync(path.join(root, 'dist', built.whole), whole);
      const tested = process.env['DOCKER_PRELOADER_UNDER_TEST'];
      process.env['DOCKER_PRELOADER_UNDER_TEST'] = alone;
      t.after(() => {
        if (tested === undefined) delete process.env['DOCKER_PRELOADER_UNDER_TEST'];
        else process.env['DOCKER_PRELOADER_UNDER_TEST'] = tested;
      });
      await site.configure({ idleExitSec: 60 });
      await site.attach(disk);
      await boot();
      copyFileSync(alone, `${alone}.new`);
      renameSync(`${alone}.new`, alone);
      assert.equal(await askAgent(path.join(site.folder, 'status/status.sock'), '/healthz'), 'ok');
      await daemon.follows(dockerd);
      assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
      assert.ok((await back(...ALL)) < 5000);
      await ends(disk);
    },
  );

  it("an `rmi` shortly before is none of the prune's", async () => {
    await site.attach(disk);
    await boot();
    assert.equal(await call(dockerd, 'DELETE', '/images/app:2'), 200);
    await delay(50);
    assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
    await back('app:1', 'app:latest');
    await delay(1000);
    assert.deepEqual(await tagsOf(dockerd), ['app:1', 'app:latest']);
    await ends(disk);
  });

  it('the agent is killed at any moment of it: the next start has all, and the detach leaves nothing', async () => {
    await site.attach(disk);
    for (const afterMs of sample([0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 250, 300, 350, 400], 2)) {
      await boot();
      assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
      await delay(afterMs);
      await daemon.stop('SIGKILL');
      await dockerd.stop();
      await site.apply();
      dockerd = await site.start();
      assert.deepEqual(await tagsOf(dockerd), ALL, `killed after ${afterMs} ms`);
      assert.equal(await says(dockerd, 'app:1'), 'one');
      await ends(disk);
      await site.attach(disk);
    }
  });

  it('what the user loads at the same time is his, and survives the detach', async () => {
    await site.attach(disk);
    const archive = await archiveOf(image('one', 'app:1'));
    for (const afterMs of sample([0, 30, 60, 90, 120, 150, 180, 210, 240, 300], 2)) {
      await boot();
      assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
      await delay(afterMs);
      assert.equal(await call(dockerd, 'POST', '/images/load?quiet=1', archive), 200);
      await back(...ALL);
      await delay(1000);
      await daemon.stop();
      await dockerd.stop();
      await site.detach(disk);
      await site.apply(3);
      dockerd = await site.start();
      assert.ok((await tagsOf(dockerd)).includes('app:1'), `loaded after ${afterMs} ms`);
      await dockerd.stop();
      await site.attach(disk);
      await site.apply();
      dockerd = await site.start();
      await dockerd.cli(['image', 'prune', '--all', '--force']);
      await dockerd.stop();
    }
  });

  it("dockerd's socket is left alone while it does not run, as docker.socket would start it", async () => {
    const place = path.join(site.folder, 'activated.sock');
    let connections = 0;
    let server: Server | undefined;
    try {
      server = createServer((client) => {
        connections += 1;
        const through = createConnection(path.join(site.folder, 'run/docker.sock'));
        for (const [from, to] of [
          [client, through],
          [through, client],
        ] as const) {
          from.pipe(to);
          from.on('error', () => to.destroy());
        }
      }).listen(place);
      await site.configure({ dockerHost: `unix://${place}` });
      await site.attach(disk);
      daemon = await startDaemon(site);
      await delay(1500);
      assert.equal(connections, 0);
      dockerd = await site.start();
      await daemon.follows(dockerd);
      const followed = connections;
      assert.ok(followed > 0);
      await dockerd.cli(['image', 'prune', '--all', '--force']);
      await back(...ALL);
      await dockerd.cli(['rmi', 'app:2']);
      await dockerd.stop();
      await delay(2500);
      assert.equal(connections, followed, 'all that is asked goes over what was connected at first');
    } finally {
      server?.close();
      rmSync(place, { force: true });
    }
  });

  it('with `prunedImages: respect` it is a removal, decided by `removedImages`', async () => {
    await site.attach(disk);
    for (const removedImages of ['restore', 'respect'] as const) {
      await site.configure({ prunedImages: 'respect', removedImages });
      daemon = await startDaemon(site);
      dockerd = await site.start();
      assert.deepEqual(await tagsOf(dockerd), ALL);
      await delay(1500);
      assert.equal(await call(dockerd, 'POST', PRUNE_ALL), 200);
      assert.deepEqual([...new Store(site.dataRoot).layers.recorded], []);
      await delay(1500);
      assert.deepEqual(await tagsOf(dockerd), []);
      await dockerd.stop();
      await daemon.stop();
      await site.apply();
      dockerd = await site.start();
      assert.deepEqual(await tagsOf(dockerd), removedImages === 'restore' ? ALL : []);
      await dockerd.stop();
    }
  });

  it("an API that is not the store's, or no unix socket, is said, and the images come with Docker's next start", async () => {
    await site.attach(disk);
    const other = await startDockerd({
      version: '28.5',
      dataRoot: path.join(site.folder, 'other/data'),
      folder: path.join(site.folder, 'other'),
    });
    await site.configure({ dockerHost: `unix://${other.socket}` });
    daemon = await startDaemon(site);
    dockerd = await site.start();
    await until('a line about it', () =>
      /what a prune takes comes back when Docker next starts, and not before: /.test(daemon.log()),
    );
    assert.match(daemon.log(), /expected dockerd on \S+\/data at \S+, found one on \S+\/other\/data; set `dockerHost`/);
    await other.stop();
  });

  it('steps of classic builds come back with what was built on them', async () => {
    const builder = await startDockerd({
      version: '20.10',
      dataRoot: path.join(site.folder, 'builder/data'),
      folder: path.join(site.folder, 'builder'),
    });
    await builder.cli(['load'], await archiveOf(image('one', 'app:1')));
    await buildImage(
      builder,
      'built:1',
      'FROM app:1\nRUN echo first > /first\nRUN echo second > /second',
      'classic',
      {},
    );
    await builder.stop();
    const legacy = path.join(site.folder, 'legacy.ext4');
    await makeLegacyDisk(path.join(site.folder, 'builder/data'), legacy, { label: 'dpl-legacy' });
    await site.attach(legacy, 'steps');
    await boot();
    const history = await dockerd.cli(['history', '--quiet', '--no-trunc', 'built:1']);
    await dockerd.cli(['image', 'prune', '--all', '--force']);
    await back('app:1', 'built:1');
    await delay(700);
    assert.equal(await dockerd.cli(['history', '--quiet', '--no-trunc', 'built:1']), history);
    assert.equal(await dockerd.cli(['images', '--quiet', '--filter', 'dangling=true']), '');
    assert.equal((await site.agent('verify')).exitCode, 0);
    await ends('steps');
  });
});
