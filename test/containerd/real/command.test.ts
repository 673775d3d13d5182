import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, afterEach, beforeEach, describe, it } from 'node:test';
import { execa } from 'execa';
import { setTimeout as delay } from 'node:timers/promises';
import type { PlanDocument } from '../../../agent/status/schema.ts';
import { startDaemon } from '../../store/site-daemon.ts';
import { makeSite, type Site } from '../../store/site.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { startContainerd, type ContainerdProcess } from '../../support/containerd.ts';
import { dockerdTree } from '../../support/dockerd-version.ts';
import type { Dockerd } from '../../support/dockerd.ts';
import { until } from '../../support/until.ts';
import { madeDisk } from './disks.ts';

/** What the small engine may take after READY. */
const RESIDENT_KB = 5 * 1024;

function processOf(pid: number): { readonly exe: string; readonly residentKb: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return { exe: readlinkSync(`/proc/${pid}/exe`), residentKb: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) };
}

/** The commands, as they are run, on a dockerd that has its images in containerd. */
for (const version of ['26.1', '28.5'] as const)
  describe(`the commands on dockerd ${version} with its images in containerd`, () => {
    let site: Site;
    let containerd: ContainerdProcess;
    let dockerd: Dockerd | undefined;

    beforeEach(async () => {
      site = await makeSite(version);
      containerd = await startContainerd(version, path.join(site.folder, 'c'));
      await site.configure({ store: 'containerd', containerdAddress: containerd.address });
      await site.attach((await madeDisk('a')).gzip, 'a');
      await site.attach((await madeDisk('b')).tar, 'b');
    });
    afterEach(async () => {
      await dockerd?.kill();
      dockerd = undefined;
      await containerd.end();
      await site.remove();
    });
    after(cleanUpAll);

    const start = async (): Promise<Dockerd> =>
      (dockerd = await site.start({
        extraConfig: { containerd: containerd.address, features: { 'containerd-snapshotter': true } },
      }));
    const tags = async (docker: Dockerd): Promise<string> =>
      (await docker.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n').toSorted().join(' ');

    it('fill it, say so, compare it, and take everything out', async () => {
      const planned = JSON.parse((await site.agent('plan', '--json')).stdout) as PlanDocument;
      assert.deepEqual([planned.state, new Set(planned.steps.map((step) => step.do)).has('make-layer')], ['ok', true]);
      assert.equal((await site.agent('verify')).exitCode, 3);
      const first = await site.apply();
      assert.match(first.all, /^ok: 2 disks, 3 images, 4 layers, \d+ changes, \d+ ms$/m);
      assert.ok(!existsSync(path.join(site.dataRoot, 'overlay2')), 'overlay2/ is not made');
      const status = site.status();
      assert.deepEqual(
        status.stores.map(({ store, namespace, state, images, names }) => [store, namespace, state, images, names]),
        [
          [
            'containerd',
            'moby',
            'in-use',
            3,
            ['docker.io/library/app-a:1', 'docker.io/library/app-b:1', 'docker.io/library/one:1'],
          ],
        ],
      );
      assert.deepEqual(
        status.images.map(({ usable, references, dockerReferences }) => [
          usable,
          references.every((name) => dockerReferences?.includes(name)),
        ]),
        [
          [true, true],
          [true, true],
          [true, true],
        ],
      );
      assert.match((await site.apply()).all, /nothing to change/);
      assert.equal((await site.agent('verify', '--deep')).exitCode, 0);

      const docker = await start();
      assert.equal(await tags(docker), 'app-a:1 app-b:1 one:1');
      assert.equal(await docker.cli(['run', '--rm', '--network', 'none', 'app-a:1', 'cat', '/etc/a']), 'a');
      // A disk that comes while Docker runs.
      await site.detach('b');
      assert.match((await site.apply()).all, /ok: 1 disk, /);
      assert.equal(await tags(docker), 'app-a:1');
      await site.attach((await madeDisk('b')).gzip, 'b');
      await site.apply();
      assert.equal(await tags(docker), 'app-a:1 app-b:1 one:1');
      assert.equal(await docker.cli(['run', '--rm', '--network', 'none', 'app-b:1', 'cat', '/etc/b2']), 'b2');

      const unlinked = await site.agent('unlink');
      assert.deepEqual(
        [unlinked.exitCode, unlinked.all.includes('removed what was preloaded')],
        [0, true],
        unlinked.all,
      );
      assert.equal(await tags(docker), '');
      assert.equal((await containerd.ctr(['-n', 'moby', 'snapshots', 'ls'])).split('\n').length, 1);
    });

    it('are followed by the daemon: disks that come and go, a prune, an rmi, a containerd that starts anew', async () => {
      const docker = await start();
      // From here on, dockerd's own configuration says where its images are.
      await site.configure({ store: 'auto', containerdAddress: containerd.address });
      const daemon = await startDaemon(site);
      try {
        await until('the images are there', async () => (await tags(docker)) === 'app-a:1 app-b:1 one:1');
        await daemon.follows(docker);

        // Each containerd that it has begun to follow is filled once more by then, whatever became of a prune.
        await delay(3000);
        for (const removed of [[], ['app-a:1', 'app-b:1']]) {
          if (removed.length > 0) await docker.cli(['rmi', ...removed]);
          // A prune that is over before dockerd says whether there is one counts as removals. On a busy machine, one of a
          // single image may be.
          for (let number = 0; number < 8; number += 1) await docker.cli(['tag', 'one:1', `mine:${number}`]);
          const begin = performance.now();
          await docker.cli(['image', 'prune', '--all', '--force']);
          await until('what a prune took is back', async () => (await tags(docker)) === 'app-a:1 app-b:1 one:1');
          assert.ok(performance.now() - begin < 5000, 'within 5 s');
        }

        await docker.cli(['rmi', 'one:1']);
        await until('the status says what was removed', () =>
          site.status().findings.some(({ code, message }) => code === 'REMOVED' && message.includes('one:1')),
        );
        assert.equal(await tags(docker), 'app-a:1 app-b:1');

        // All of that in the process that was READY, which is as small as before.
        const { exe, residentKb } = processOf(daemon.pid);
        assert.equal(path.basename(exe), 'docker-preloader');
        assert.ok(!exe.includes('/lib/docker-preloader/'), exe);
        assert.ok(residentKb <= RESIDENT_KB, `${residentKb} kB`);

        await site.detach('b');
        await daemon.stop();
        const again = await startDaemon(site);
        try {
          await until('the disk is gone', async () => (await tags(docker)) === 'app-a:1');
          await containerd.ctr(['-n', 'moby', 'images', 'rm', 'docker.io/library/app-a:1']);
          await containerd.kill();
          containerd = await startContainerd(version, path.join(site.folder, 'c'));
          await until('a new containerd is filled', async () =>
            (await containerd.ctr(['-n', 'moby', 'images', 'ls', '-q'])).includes('app-a:1'),
          );
        } finally {
          await again.stop();
        }
      } finally {
        await daemon.stop().catch(() => undefined);
      }
    });

    it('take a disk again that was pulled out under a container, and another one in its place', async () => {
      const label = site.labelOf('plugged');
      const codes = (): string[] =>
        site.status().findings.flatMap((finding) => (finding.label === label ? [finding.code] : []));
      // runc has the containers of all containerds of a machine in one folder.
      const container = `runs-${process.pid}-${version}`;
      const run = (image: string, ...command: readonly string[]): Promise<string> =>
        containerd.run('moby', `docker.io/library/${image}`, ...command);
      const plug = async (name: 'a' | 'b'): Promise<() => Promise<void>> => {
        // The file of a disk that was pulled out stays until nothing runs from it.
        await rm(path.join(site.folder, 'plugged.ext4'), { force: true });
        return (await site.attach((await madeDisk(name)).gzip, 'plugged')).detach;
      };
      const pullFirst = await plug('a');
      await site.apply();
      await containerd.ctr(['-n', 'moby', 'run', '--detach', 'docker.io/library/app-a:1', container, 'sleep', '1000']);
      await pullFirst();
      await site.detach('a');
      await site.detach('b');
      await site.apply(3);
      assert.deepEqual(codes(), ['DISK_MISSING', 'KEPT'], 'it is gone, and who stands on it is named');
      const pullSecond = await plug('a');
      await site.apply();
      assert.equal(await run('app-a:1', 'cat', '/etc/a'), 'a');
      // Another disk comes in its place before anybody has looked.
      await pullSecond();
      await plug('b');
      await site.apply(3);
      assert.deepEqual(codes(), ['KEPT']);
      assert.equal(await run('app-b:1', 'cat', '/etc/b2'), 'b2');
      await containerd.ctr(['-n', 'moby', 'task', 'rm', '--force', container]);
    });

    it('take it all out while the daemon runs, which does not mount the disks again', async () => {
      const mounted = (): string =>
        readFileSync('/proc/mounts', 'utf8')
          .split('\n')
          .filter((line) => line.includes(` ${site.mountRoot}/`))
          .join('\n');
      const daemon = await startDaemon(site);
      try {
        await start();
        await until(
          'the images are there',
          async () => (await tags(dockerd ?? assert.fail())) === 'app-a:1 app-b:1 one:1',
        );
        assert.notEqual(mounted(), '');
        const unlinked = await site.agent('unlink');
        assert.equal(unlinked.exitCode, 0, unlinked.all);
        // It looks at what has changed in containerd within some two seconds.
        await delay(4000);
        assert.equal(mounted(), '');
        assert.equal(await containerd.ctr(['-n', 'moby', 'images', 'ls', '-q']), '');
        // What starts it again fills it again.
        assert.equal((await site.apply()).exitCode, 0);
        assert.equal(await tags(dockerd ?? assert.fail()), 'app-a:1 app-b:1 one:1');
        assert.notEqual(mounted(), '');
      } finally {
        await daemon.stop().catch(() => undefined);
      }
    });

    it('fill a containerd that starts only later, and take out of it again', async () => {
      const { bin, lib = '' } = await dockerdTree(version);
      const program = path.join(site.folder, 'containerd-program');
      await writeFile(program, `#!/bin/sh\nLD_LIBRARY_PATH='${lib}' exec '${bin}/containerd' "$@"\n`, { mode: 0o755 });
      await containerd.stop();
      const later = { containerdRoot: containerd.root, containerdProgram: program };
      await site.configure({ store: 'containerd', containerdAddress: containerd.address, ...later });
      await site.apply();
      assert.equal(site.status().stores[0]?.images, 3);
      containerd = await startContainerd(version, path.join(site.folder, 'c'));
      const names = async (): Promise<string> => containerd.ctr(['-n', 'moby', 'images', 'ls', '-q']);
      assert.equal((await names()).trim().split('\n').length, 3);
      assert.match((await site.apply()).all, /nothing to change/);
      await containerd.stop();
      assert.equal((await site.agent('unlink')).exitCode, 0);
      containerd = await startContainerd(version, path.join(site.folder, 'c'));
      assert.equal(await names(), '');
    });

    it('find what lies where a link belongs, and links to the disks that are not there', async () => {
      await site.apply();
      const folders = ['io.containerd.snapshotter.v1.overlayfs', 'io.containerd.content.v1.content'];
      for (const folder of folders) {
        const { stdout } = await execa('find', [path.join(containerd.root, folder), '-type', 'l']);
        const link = stdout.split('\n')[0] ?? '';
        const target = await readlink(link);
        const isBlob = folder === folders[1];
        const bytes = isBlob ? await readFile(link) : undefined;
        await rm(link);
        await mkdir(path.join(link, 'other'), { recursive: true });
        const { exitCode, all } = await site.agent('verify');
        assert.equal(exitCode, 1, all);
        assert.ok(all.includes(`STORE_DAMAGED: containerd, moby: ${link}: expected a link of ours, found`), all);
        await rm(link, { recursive: true });
        // A pull writes a blob in place of a link that leads nowhere.
        if (bytes !== undefined) await writeFile(link, bytes);
        else assert.equal((await site.apply()).exitCode, 0);
        assert.equal((await site.agent('verify')).exitCode, 0);
        await rm(target);
        assert.match(
          (await site.agent('verify')).all,
          /STORE_DIFFERS: 1 link to the disks' layers and blobs is missing or leads elsewhere, .*docker-preloader apply/,
        );
        assert.equal((await site.apply()).exitCode, 0);
        assert.equal((await site.agent('verify')).exitCode, 0);
      }
    });

    it('say that containerd does not run, until it does', async () => {
      await containerd.stop();
      assert.match((await site.agent('plan')).all, /containerd at \S+ does not run: what is to be done in its store/);
      const { exitCode, all } = await site.agent('apply');
      assert.equal(exitCode, 1);
      assert.match(all, /containerd at \S+: /);
      assert.match(
        (await site.agent('verify')).all,
        /STORE_DIFFERS: containerd at \S+: expected one that runs, found none/,
      );
      const daemon = await startDaemon(site);
      try {
        assert.equal((await site.agent('apply')).exitCode, 1);
        assert.equal(site.status().state, 'failed');
        containerd = await startContainerd(version, path.join(site.folder, 'c'));
        await until('the daemon has filled it, and says so', () => site.status().state === 'ok');
        assert.equal(site.status().stores[0]?.images, 3);
      } finally {
        await daemon.stop();
      }
    });
  });
