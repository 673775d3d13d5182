import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fetchStatus } from '../../agent/status/client.ts';
import type { PlanDocument, StatusDocument } from '../../agent/status/schema.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import type { Dockerd } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { until } from '../support/until.ts';
import { archiveOf, image } from './said-images.ts';
import { makeSite, type Site } from './site.ts';
import { type SiteDaemon, startDaemon } from './site-daemon.ts';

/** How much later the status has it; on a machine that is busy with other tests it may take longer. */
const WITHIN_MS = 2000 * (process.env['CI'] === undefined ? 1 : 3);

interface StatusDaemon extends SiteDaemon {
  status(): Promise<StatusDocument>;
  get(url: string): Promise<string>;
  /** Waits until the status is as `look` wants it, and returns it. */
  until(what: string, look: (status: StatusDocument) => boolean): Promise<StatusDocument>;
}

async function startStatusDaemon(site: Site): Promise<StatusDaemon> {
  const started = await startDaemon(site);
  const socketPath = path.join(site.folder, 'status/status.sock');
  const status = async (): Promise<StatusDocument> => (await fetchStatus(socketPath)).status;
  const daemon: StatusDaemon = {
    ...started,
    status,
    get: (url) =>
      new Promise((resolve, reject) => {
        request({ socketPath, path: url, agent: false }, (response) => {
          let body = '';
          response
            .setEncoding('utf8')
            .on('data', (chunk: string) => (body += chunk))
            .on('end', () => resolve(body));
        })
          .on('error', reject)
          .end();
      }),
    until: async (what, look) => {
      const end = performance.now() + WITHIN_MS;
      for (;;) {
        const now = await status();
        if (look(now)) return now;
        if (performance.now() > end)
          assert.fail(
            `expected ${what} within ${WITHIN_MS} ms, found ${JSON.stringify([now.state, now.images, now.pending, now.findings], undefined, 1)}`,
          );
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  };
  // What it looks at now and then is seen from then on.
  await until('the last phase', async () => (await status()).phase === 'watch');
  return daemon;
}

/** What the status says of each image, by its first name. */
const usable = ({ images }: StatusDocument): Record<string, string | null> =>
  Object.fromEntries(images.map((image) => [image.references[0] ?? '', image.usable ? 'yes' : image.code]));
const all =
  (value: string) =>
  (status: StatusDocument): boolean =>
    Object.values(usable(status)).every((one) => one === value);

/** What is told in other ways is the same. */
async function assertConsistent(daemon: StatusDaemon, site: Site, dockerd: Dockerd | undefined): Promise<void> {
  // dockerd may be at work still.
  const end = performance.now() + WITHIN_MS;
  while (performance.now() < end) {
    try {
      return await assertConsistentNow(daemon, site, dockerd);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await assertConsistentNow(daemon, site, dockerd);
}

async function assertConsistentNow(daemon: StatusDaemon, site: Site, dockerd: Dockerd | undefined): Promise<void> {
  const status = await daemon.status();
  const { steps } = JSON.parse(await daemon.get('/v1/plan')) as PlanDocument;
  assert.deepEqual(
    status.pending,
    steps.map(({ text }) => text),
  );
  const left = site.status();
  assert.deepEqual([left.state, left.images, left.pending], [status.state, status.images, status.pending]);
  const count = status.images.filter((image) => image.usable).length;
  for (const text of [
    await daemon.get('/metrics'),
    readFileSync(path.join(site.folder, 'status/metrics.prom'), 'utf8'),
  ]) {
    assert.match(text, new RegExp(`^docker_preloader_images_usable ${count}$`, 'm'));
    assert.match(text, new RegExp(`^docker_preloader_pending_changes ${steps.length}$`, 'm'));
  }
  assert.equal(await daemon.get('/healthz'), `${status.state}\n`);
  if (dockerd === undefined) return;
  const listed = (await dockerd.cli(['images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}']))
    .split('\n')
    .filter((line) => line !== '');
  for (const image of status.images) {
    const names = new Set(listed.filter((line) => line.startsWith(image.id)).map((line) => line.split(' ')[1]));
    assert.deepEqual(new Set(image.dockerReferences), names);
    assert.equal(
      image.usable,
      listed.some((line) => line.startsWith(image.id)),
    );
  }
}

function testsOn(version: DockerdVersion): void {
  describe(`dockerd ${version}: the status says what it has`, () => {
    let site: Site;
    let daemon: StatusDaemon;
    let dockerd: Dockerd;
    let archive: Uint8Array;
    before(async () => {
      // What a prune takes is to stay away, as after any removal.
      site = await makeSite(version, { prunedImages: 'respect' });
      archive = await archiveOf(image('app', 'app:1', 'app:latest'), image('db', 'db:1'));
      const disk = await makeDisk(path.join(site.folder, 'made.ext4'), archive);
      await site.attach(disk, 'd');
      daemon = await startStatusDaemon(site);
      dockerd = await site.start();
    });
    after(cleanUpAll);

    it('as long as nothing is removed, and of the run that filled the store', async () => {
      // dockerd's start is looked at, too, and brings nothing new.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const status = await daemon.status();
      assert.ok(status.applied && status.changes > 0, status.summary);
      assert.deepEqual([status.state, usable(status)], ['ok', { 'app:1': 'yes', 'db:1': 'yes' }]);
      await assertConsistent(daemon, site, dockerd);
    });

    it('when one name of two is removed: it is usable under the other', async () => {
      await dockerd.cli(['rmi', 'app:latest']);
      const status = await daemon.until('the other name', ({ images }) =>
        images.some(({ dockerReferences }) => dockerReferences?.join() === 'app:1'),
      );
      assert.deepEqual(usable(status), { 'app:1': 'yes', 'db:1': 'yes' });
      await assertConsistent(daemon, site, dockerd);
    });

    it('when one is removed, with its code, and the state is no longer ok', async () => {
      await dockerd.cli(['rmi', 'db:1']);
      const status = await daemon.until('that db:1 is gone', (now) => usable(now)['db:1'] === 'REMOVED');
      assert.deepEqual([status.state, usable(status)], ['degraded', { 'app:1': 'yes', 'db:1': 'REMOVED' }]);
      assert.match(
        status.summary,
        /^degraded: disk \S+: 1 image that dockerd had is no longer in its store \(db:1\); it comes back when Docker next starts; run: systemctl restart docker/,
      );
      await assertConsistent(daemon, site, dockerd);
    });

    it('after a prune, and after the restart of the agent, too', async () => {
      await dockerd.cli(['image', 'prune', '--all', '--force']);
      const status = await daemon.until('that all is gone', all('REMOVED'));
      assert.equal(status.state, 'degraded');
      await assertConsistent(daemon, site, dockerd);
      await daemon.stop();
      daemon = await startStatusDaemon(site);
      assert.deepEqual(
        [(await daemon.status()).state, usable(await daemon.status())],
        ['degraded', { 'app:1': 'REMOVED', 'db:1': 'REMOVED' }],
      );
      await assertConsistent(daemon, site, dockerd);
    });

    it('when they are loaded again, and after the restart of the agent, too', async () => {
      await dockerd.cli(['load'], archive);
      await daemon.until('that all is there', all('yes'));
      await assertConsistent(daemon, site, dockerd);
      await daemon.stop();
      daemon = await startStatusDaemon(site);
      assert.deepEqual(
        [(await daemon.status()).state, usable(await daemon.status())],
        ['ok', { 'app:1': 'yes', 'db:1': 'yes' }],
      );
      await assertConsistent(daemon, site, dockerd);
    });

    it('when `apply` has brought them back', async () => {
      await dockerd.cli(['image', 'prune', '--all', '--force']);
      await daemon.until('that all is gone', all('REMOVED'));
      await dockerd.stop();
      await site.apply();
      const status = await daemon.until('that all is there', all('yes'));
      assert.deepEqual([status.state, status.pending], ['ok', []]);
      dockerd = await site.start();
      await assertConsistent(daemon, site, dockerd);
    });

    it('after `unlink`, and the disks that it has unmounted stay so', async () => {
      await dockerd.stop();
      const unlinked = await site.agent('unlink');
      assert.equal(unlinked.exitCode, 0, unlinked.all);
      const status = await daemon.until('that all is gone', all('REMOVED'));
      assert.equal(status.state, 'degraded');
      assert.deepEqual(
        status.disks.map(({ state, mountPoint }) => [state, mountPoint]),
        [['pending', null]],
      );
      await assertConsistent(daemon, site, undefined);
      assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(site.mountRoot));
    });

    it('after `unlink` without a daemon', async () => {
      await daemon.stop();
      await site.apply();
      await site.agent('unlink');
      const left = site.status();
      assert.deepEqual(usable(left), { 'app:1': 'REMOVED', 'db:1': 'REMOVED' });
      assert.deepEqual([left.state, left.disks.map(({ mountPoint }) => mountPoint)], ['degraded', [null]]);
      assert.ok(left.pending.length > 0);
    });
  });
}

for (const version of ['20.10', '28.5'] as const) testsOn(version);
