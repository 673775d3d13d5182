import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Containerd } from '../../../agent/containerd/api/containerd-api.ts';
import { containerdOf } from '../../../agent/containerd/containerd-of.ts';
import { readRoots } from '../../../agent/containerd/namespace-present.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { startContainerd } from '../../support/containerd.ts';
import { startDockerd, type Dockerd } from '../../support/dockerd.ts';
import { dockerdVersions } from '../../support/dockerd-version.ts';
import { withFileLock } from '../../support/file-lock.ts';
import { torture } from '../../support/size.ts';
import { until } from '../../support/until.ts';
import { metadataOf, PrivateGround, took, versionAt } from './private-ground.ts';
import { ContainerdSite, stepsOf } from './site.ts';

for (const version of dockerdVersions)
  describe(`a private containerd of dockerd ${version}`, () => {
    after(cleanUpAll);

    it('fills a root whose own containerd finds it all, and empties it again', async () => {
      const site = await ContainerdSite.make(version);
      const ground = await PrivateGround.make(version, site.containerd.root);
      await site.attach('a');
      await site.containerd.stop();
      const filled = await ground.private((address) => site.fill({ address }));
      assert.deepEqual(filled.findings, []);
      ground.assertGone();
      await site.startContainerd();
      assert.equal(await site.containerd.run('moby', 'docker.io/library/app-a:1', 'cat', '/etc/a'), 'a');
      assert.deepEqual(stepsOf(await site.fill()), []);

      await site.containerd.stop();
      await ground.private((address) => site.fill({ address, mode: 'unlink', disks: [] }));
      ground.assertGone();
      await site.startContainerd();
      assert.equal((await site.containerd.ctr(['-n', 'moby', 'images', 'ls', '-q'])).trim(), '');
      await site.remove();
      await ground.remove();
    });

    it("keeps to what the daemon's configuration says of its store, and to nothing else that it says", async () => {
      const ground = await PrivateGround.make(version);
      const elsewhere = path.join(ground.folder, `else "where" = [x] # y`);
      const configFile = path.join(ground.folder, 'system.toml');
      const imported = path.join(ground.folder, 'more.toml');
      writeFileSync(
        configFile,
        `version = 2\nroot = "${ground.folder}/none"\nimports = ["${imported}"]\nrequired_plugins = ["io.containerd.grpc.v1.cri"]\n` +
          `[metrics]\n  address = "127.0.0.1:1"\n[grpc]\n  tcp_address = "127.0.0.1:1"\n[debug]\n  address = "${ground.folder}/debug"\n`,
      );
      writeFileSync(
        imported,
        `version = 2\n[grpc]\n  address = "${ground.folder}/system.sock"\n` +
          `[plugins."io.containerd.snapshotter.v1.overlayfs"]\n  root_path = ${JSON.stringify(elsewhere)}\n` +
          '[plugins."io.containerd.metadata.v1.bolt"]\n  content_sharing_policy = "isolated"\n',
      );
      await ground.private(
        async (address) => {
          const containerd = await Containerd.open(address, 5_000);
          const { snapshots, sharesContent } = await readRoots(containerd).finally(() => containerd.close());
          assert.deepEqual([snapshots, sharesContent], [elsewhere, false]);
          assert.deepEqual(listeningPorts(ground.holder ?? ''), []);
        },
        { configFile },
      );
      for (const name of ['none', 'debug', 'system.sock']) assert.ok(!existsSync(path.join(ground.folder, name)), name);
      // As Docker's own package of containerd has it, in the first version of the format.
      writeFileSync(configFile, 'disabled_plugins = ["cri"]\n');
      assert.match(await ground.private(versionAt, { configFile }), /^\d/);
      assert.match(await ground.private(versionAt, { configFile: `${configFile}.none` }), /^\d/);
      writeFileSync(configFile, 'root = = x\n');
      await assert.rejects(ground.private(versionAt, { configFile }), {
        code: 'STORE_WRITE',
        message: /system\.toml: expected a configuration that containerd reads.*TOML/,
      });
      ground.assertGone();
      await ground.remove();
    });
  });

for (const version of ['26.1', '28.5'] as const)
  describe(`dockerd ${version} that starts a containerd of its own`, () => {
    after(cleanUpAll);

    it('finds its store filled, and is left alone while it runs', async () => {
      const site = await ContainerdSite.make(version);
      await site.containerd.stop();
      const execRoot = path.join(site.folder, 'd/run/exec');
      const where = (): ReturnType<typeof containerdOf> =>
        containerdOf({
          address: '/run/containerd/containerd.sock',
          dockerdContainerdOption: undefined,
          dataRoot: site.dataRoot,
          execRoot,
        });
      const place = await where();
      assert.deepEqual(place, { is: 'managed', root: path.join(site.dataRoot, 'containerd/daemon') });
      const ground = await PrivateGround.make(version, place.root);
      await site.attach('a');
      await site.attach('b');
      const filled = await ground.private((address) => site.fill({ address }));
      assert.deepEqual(filled.findings, []);
      ground.assertGone();
      assert.equal(statSync(site.dataRoot).mode & 0o777, 0o710);

      const start = (): Promise<Dockerd> =>
        startDockerd({
          version,
          dataRoot: site.dataRoot,
          folder: path.join(site.folder, 'd'),
          extraConfig: { features: { 'containerd-snapshotter': true } },
        });
      const dockerd = await start();
      const cat = (name: string, file: string): Promise<string> =>
        dockerd.cli(['run', '--rm', '--network', 'none', name, 'cat', file]);
      assert.equal(await cat('app-a:1', '/etc/a'), 'a');
      assert.equal(await cat('app-b:1', '/etc/b2'), 'b2');

      const running = await where();
      assert.deepEqual(running, { is: 'there', address: path.join(execRoot, 'containerd/containerd.sock') });
      await assert.rejects(ground.private(versionAt), {
        code: 'LOCKED',
        message: new RegExp(`process ${ground.holder}`),
      });
      await site.detach('b');
      await site.fill({ address: running.address });
      assert.equal(await dockerd.cli(['images', '--format', '{{.Repository}}']), 'app-a');
      await dockerd.stop();

      await ground.private((address) => site.fill({ address, mode: 'unlink', disks: [] }));
      ground.assertGone();
      const again = await start();
      assert.equal(await again.cli(['images', '--quiet']), '');
      await again.stop();
      await site.remove();
      await ground.remove();
    });
  });

describe('two containerds on one root', () => {
  after(cleanUpAll);
  const make = (): Promise<PrivateGround> => PrivateGround.make('28.5');

  it('are never there at once: a second agent waits for the first', async () => {
    const ground = await make();
    let there = 0;
    const work = async (address: string): Promise<void> => {
      there += 1;
      assert.equal(there, 1);
      await versionAt(address);
      await delay(100);
      there -= 1;
    };
    await Promise.all([ground.private(work), ground.private(work), ground.private(work)]);
    const holder = await ground.hold('node');
    await holder.has('has it');
    const waits = ground.private(work, { timeoutMs: 500 });
    await assert.rejects(waits, { code: 'LOCKED', message: /held by another docker-preloader for 0\.5 s/ });
    await assert.rejects(ground.private(work, { runRoot: path.join(ground.folder, 'other') }), {
      code: 'LOCKED',
      message: new RegExp(`found one \\(process ${ground.holder}\\)`),
    });
    assert.equal(await holder.end('SIGTERM'), 'SIGTERM');
    await ground.private(work);
    ground.assertGone();
    await ground.remove();
  });

  it('are never there at once: one that runs is found before, or where it was faster', async () => {
    const ground = await make();
    const own = await startContainerd('28.5', ground.folder);
    const refused = ground.private(() => Promise.reject(new Error('not reached')));
    await assert.rejects(refused, { code: 'LOCKED', message: new RegExp(`found one \\(process ${own.pid}\\)`) });
    assert.equal(ground.holder, String(own.pid));
    assert.match(await own.ctr(['version']), /Server/);
    await own.stop();

    // Another has the lock between the last look and the start.
    const taken = path.join(ground.folder, 'taken');
    const late = ground.fake(
      `case $2 in */run/*) touch ${taken}; until [ -e ${taken}.now ]; do sleep 0.02; done;; esac\nexec ${ground.program} "$@"`,
    );
    const refusedLate = ground.private(versionAt, { program: late, timeoutMs: 10_000 });
    await until('our start', () => existsSync(taken));
    await withFileLock(metadataOf(ground.root), async () => {
      writeFileSync(`${taken}.now`, '');
      await assert.rejects(refusedLate, { code: 'LOCKED' });
    });
    ground.assertGone();
    await ground.remove();
  });

  it('are never there at once: the real one, started meanwhile, waits, and has it by the deadline', async () => {
    const ground = await make();
    const never = ground.private(() => new Promise<never>(() => undefined), { timeoutMs: 3_000 });
    const refused = assert.rejects(never, { code: 'STORE_WRITE', message: /was not filled within 3 s/ });
    await until('the private one', () => ground.holder !== undefined);
    const start = performance.now();
    const own = await startContainerd('28.5', ground.folder);
    assert.ok(performance.now() - start < 4_000);
    // The kernel gives the lock to one. What ours leaves behind goes a moment later, while the real one runs.
    assert.equal(ground.holder, String(own.pid));
    await refused;
    assert.ok(performance.now() - start < 4_000);
    await own.end();
    ground.assertGone();
    await ground.remove();
  });
});

describe('the end of the process that has a private containerd', () => {
  after(cleanUpAll);

  for (const [runtime, signals] of [
    ['bun', ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP']],
    ['node', ['SIGKILL', 'SIGTERM']],
  ] as const)
    for (const signal of signals)
      it(`by ${signal}, under ${runtime}, leaves no containerd and no lock`, async () => {
        const ground = await PrivateGround.make('28.5');
        const holder = await ground.hold(runtime);
        await holder.has('has it');
        assert.notEqual(ground.holder, undefined);
        assert.equal(await holder.end(signal), signal);
        const goneMs = await until('its end', () => ground.isFree);
        assert.ok(goneMs < 1_000, `${goneMs} ms`);
        // What is left of files goes with the next one, which need not wait.
        assert.ok((await took(ground.private(versionAt))) < 3_000);
        ground.assertGone();
        await ground.remove();
      });

  it('at any moment leaves nothing of it', async () => {
    const ground = await PrivateGround.make('28.5');
    for (let afterMs = 0; afterMs < 200; afterMs += torture ? 1 : 40) {
      const holder = await ground.hold('bun', { timeoutMs: 20_000 });
      await holder.has('begins');
      await delay(afterMs);
      await holder.end('SIGKILL');
      await until(`its end after ${afterMs} ms`, () => ground.isFree, 5_000);
    }
    await ground.private(versionAt);
    ground.assertGone();
    await ground.remove();
  });

  it('is no condition: one that stands still has no containerd any more when the time is over', async () => {
    const ground = await PrivateGround.make('28.5');
    const holder = await ground.hold('node', { timeoutMs: 2_000 });
    await holder.has('has it');
    holder.process.kill('SIGSTOP');
    assert.notEqual(ground.holder, undefined);
    const goneMs = await until('its end', () => ground.isFree);
    // Its time began before, so this is 2 s less what its start took, and what a busy machine adds.
    assert.ok(goneMs < 6_000, `${goneMs} ms`);
    await holder.end('SIGKILL');
    await ground.remove();
  });
});

/** TCP and UDP ports that a process has open, as lines of /proc. */
function listeningPorts(pid: string): string[] {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
  const inodes = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  assert.ok(inodes.size > 0, 'it has a socket');
  return ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((name) => {
    return readFileSync(`/proc/${pid}/net/${name}`, 'utf8')
      .split('\n')
      .filter((line) => inodes.has(line.trim().split(/\s+/)[9] ?? ''));
  });
}

/** Where a link leads: nowhere where containerd has just closed what it stands for. */
function linkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return '';
  }
}
