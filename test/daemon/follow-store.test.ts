import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { queryObjects } from 'node:v8';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { fetchStatus } from '../../agent/status/client.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { factsOf, loadImages } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { startDaemon } from '../support/daemon.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree, scratch } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { app } from '../status/a-run.ts';
import { followStore } from '../../agent/daemon/follow-store.ts';

const WITHIN_MS = 2000 * (process.env['CI'] === undefined ? 1 : 3);

describe('the daemon follows the store', () => {
  let folder: string;
  let config: string;
  const below = (name: string): string => path.join(folder, name);
  const status = async (): Promise<StatusDocument> => (await fetchStatus(below('run/s.sock'))).status;
  const codesWithin = async (expected: readonly (string | null)[]): Promise<void> => {
    for (const end = performance.now() + WITHIN_MS; ; await delay(50)) {
      const { images } = await status();
      const codes = images.map(({ code }) => code);
      if (JSON.stringify(codes) === JSON.stringify(expected)) return;
      if (performance.now() > end) assert.deepEqual(codes, expected);
    }
  };
  const remove = (dataRoot: string): void => rmSync(metadataPaths(below(dataRoot)).image(factsOf(app).id));
  const useDataRoot = (dataRoot: string): void =>
    writeFileSync(below('daemon.json'), JSON.stringify({ 'data-root': below(dataRoot) }));

  before(async () => {
    ({ path: folder } = await tempTree('dpl-follows'));
    const label = `f${process.pid.toString(36)}`;
    loadImages(below('tree'), [app]);
    await makeDiskFile(below('tree'), below('disk.ext4'), label);
    await attach(below('disk.ext4'));
    config = below('config.json');
    useDataRoot('docker');
    writeFileSync(
      config,
      JSON.stringify({
        labels: [label],
        mountRoot: below('disks'),
        dockerConfig: below('daemon.json'),
        statusSocket: below('run/s.sock'),
      }),
    );
    await startDaemon(config, folder);
    await until('the last phase', async () => (await status()).phase === 'watch');
  });
  after(cleanUpAll);

  it('and says so where its files cannot be written, and not what they say', async () => {
    execFileSync('mount', ['--bind', below('run'), below('run')]);
    execFileSync('mount', ['-o', 'remount,bind,ro', below('run')]);
    try {
      await codesWithin([null]);
      remove('docker');
      await codesWithin(['REMOVED']);
    } finally {
      execFileSync('umount', [below('run')]);
    }
    assert.match(readFileSync(below('run/status.json'), 'utf8'), /"state":"ok"/);
  });

  it('where they were removed or damaged, too, and mends them with the next change', async () => {
    for (const spoil of [
      () => rmSync(below('run/status.json')),
      () => writeFileSync(below('run/status.json'), '{'),
      () => writeFileSync(below('run/boot.json'), '{'),
    ]) {
      spoil();
      assert.equal((await status()).state, 'degraded');
    }
    rmSync(path.join(metadataPaths(below('docker')).root, 'repositories.json'));
    for (
      const end = performance.now() + WITHIN_MS;
      !readFileSync(below('run/status.json'), 'utf8').includes('REMOVED');
      await delay(50)
    )
      assert.ok(performance.now() < end);
  });

  it("that dockerd's configuration has named since, once that was filled", async () => {
    useDataRoot('other');
    const applied = await agent(['apply', '--config', config]);
    assert.equal(applied.exitCode, 0, applied.all);
    await codesWithin([null]);
    assert.equal((await status()).dataRoot, below('other'));
    // By then it is followed.
    await delay(500);
    remove('other');
    await codesWithin(['REMOVED']);
  });

  it('and what the configuration says since a run has gone by another one', async () => {
    const said = readFileSync(config, 'utf8');
    for (const [labels, codes] of [
      ['none-*', []],
      [JSON.parse(said).labels[0], [null]],
    ] as const) {
      writeFileSync(config, JSON.stringify({ ...JSON.parse(said), labels: [labels] }));
      const applied = await agent(['apply', '--config', config]);
      assert.equal(applied.exitCode, 0, applied.all);
      await codesWithin(codes);
      await delay(2000);
      assert.deepEqual([(await status()).pending, (await status()).images.length], [[], codes.length]);
    }
  });

  it('that has taken the place of the one it followed, once that was filled', async () => {
    const overmount = (): void => {
      execFileSync('cp', ['-a', below('other'), below('third')]);
      execFileSync('mount', ['--bind', below('third'), below('other')]);
    };
    const restore = (): void => {
      renameSync(below('other'), below('damaged'));
      execFileSync('cp', ['-a', below('damaged'), below('other')]);
    };
    for (const takePlace of [restore, overmount]) {
      takePlace();
      const applied = await agent(['apply', '--config', config]);
      assert.equal(applied.exitCode, 0, applied.all);
      await codesWithin([null]);
      // By then it is followed.
      await delay(2000);
      remove('other');
      await codesWithin(['REMOVED']);
    }
  });
});

describe('who follows a store', () => {
  async function follow(t: TestContext, change: (images: string) => Promise<void>): Promise<number[]> {
    const root = scratch(t);
    const looks: number[] = [];
    const start = performance.now();
    const followed = followStore(root, async () => {
      looks.push(performance.now() - start);
      await delay(20);
      // What goes wrong once is no reason to look no more.
      if (looks.length === 1) throw new Error('a look that fails');
    });
    await change(path.join(root, 'image/overlay2/imagedb/content/sha256'));
    await delay(2000);
    followed.end();
    await followed.over;
    return looks;
  }

  it('does not look while nothing changes', async (t) => {
    assert.deepEqual(await follow(t, () => Promise.resolve()), []);
  });

  it('keeps nothing of the changes that it has looked at', async (t) => {
    const counts: number[] = [];
    await follow(t, async (images) => {
      mkdirSync(images, { recursive: true });
      for (let number = 0; number < 6; number += 1) {
        writeFileSync(path.join(images, String(number)), '');
        await delay(1800);
        counts.push(queryObjects(Promise, { format: 'count' }));
      }
    });
    const [, second = 0] = counts;
    assert.ok((counts.at(-1) ?? Infinity) <= second + 1, `promises: ${counts.join(', ')}`);
  });

  it('looks within 2 s, and not for each of thousands of changes', async (t) => {
    let last = 0;
    const looks = await follow(t, async (images) => {
      mkdirSync(images, { recursive: true });
      const start = performance.now();
      for (let number = 0; performance.now() - start < 4000; number += 1) {
        writeFileSync(path.join(images, String(number)), '');
        if (number % 50 === 0) await delay(1);
      }
      last = performance.now() - start;
    });
    assert.ok(looks.length >= 3 && looks.length <= 6, `looks at ${looks.map(Math.round).join(', ')} ms`);
    assert.ok((looks[0] ?? Infinity) < 1000);
    assert.ok((looks.at(-1) ?? 0) >= last, 'the last change was looked at');
  });
});
