import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { attach, type LoopDevice } from '../support/loop-device.ts';
import { unmountBelow, tempTree } from '../support/temp-tree.ts';
import { random } from '../support/random.ts';
import { seed } from '../support/seed.ts';
import { imageProblems, loadImages, references, type ImageSpec } from '../boot/fake-store.ts';
import { makeDiskFile, setLabel } from './disk-file.ts';
import { torture } from '../support/size.ts';

const DISKS = torture ? 2000 : 60;
/** So many damaged disks are attached at once. */
const AT_ONCE = 20;
const SECONDS = 20;
const userSpec: ImageSpec = { layers: ["the user's"], references: ['mine:1'] };
const goodSpec: ImageSpec = { layers: ['good base', 'good top'], references: ['good:1'] };

/** Damages a filesystem: bytes flipped anywhere, in its metadata, or in its superblock; or its end cut off. */
function damage(file: string, next: (limit: number) => number): string {
  const size = statSync(file).size;
  const kind = next(5);
  if (kind === 0) {
    const left = next(size);
    truncateSync(file, left - (left % 512));
    return `cut to ${left - (left % 512)}`;
  }
  // The magic number and the label stay, so that the disk is tried at all; groups and inode tables lie in the first 256
  // KiB.
  const [start, end, what] =
    kind === 1
      ? [1024, 2048, 'superblock']
      : kind === 2
        ? [4096, Math.min(size, 256 * 1024), 'metadata']
        : [4096, size, 'anywhere'];
  const count = 1 + next(kind === 1 ? 4 : 200);
  const fd = openSync(file, 'r+');
  try {
    for (let number = 0; number < count; number += 1) {
      const at = start + next(end - start);
      if (at >= 1024 + 0x38 && at < 1024 + 0x3a) continue;
      if (at >= 1024 + 0x78 && at < 1024 + 0x88) continue;
      writeSync(fd, Buffer.from([next(256)]), 0, 1, at);
    }
  } finally {
    closeSync(fd);
  }
  return `${count} bytes, ${what}`;
}

describe('disks with random damage', () => {
  after(cleanUpAll);
  let folder: string;
  let pristine: string;
  const prefix = `r${process.pid.toString(36)}`;
  before(async () => {
    folder = (await tempTree('dpl-damage', 'in-memory')).path;
    const root = path.join(folder, 'tree');
    const specs: ImageSpec[] = [];
    for (let number = 0; number < 8; number += 1)
      specs.push({
        layers: ['base', `middle ${number % 3}`, `top ${number}`],
        references: [`app-${number}:1`],
        source: 'registry.example/app',
      });
    loadImages(root, specs, 'disk');
    pristine = path.join(folder, 'pristine.ext4');
    await makeDiskFile(root, pristine, 'pristine');
    rmSync(root, { recursive: true });
    loadImages(root, [goodSpec], 'good');
    await makeDiskFile(root, path.join(folder, 'good.ext4'), `${prefix}-good`);
  });

  it(`never crash the agent, damage the store, or hold it up: ${DISKS} disks`, async (test) => {
    test.diagnostic(`seed ${seed}: DPL_SEED=${seed} tries the same disks`);
    const next = random(seed);
    const dataRoot = path.join(folder, 'data');
    const mountRoot = path.join(folder, 'disks');
    const config = path.join(folder, 'config.json');
    const good = await attach(path.join(folder, 'good.ext4'));
    const outcomes = new Map<string, number>();
    let slowest = 0;
    for (let done = 0; done < DISKS; done += AT_ONCE) {
      const loops: LoopDevice[] = [];
      const told: string[] = [];
      for (let number = 0; number < AT_ONCE; number += 1) {
        const file = path.join(folder, `damaged-${number}.ext4`);
        await copyFile(pristine, file);
        setLabel(file, `${prefix}-${number}`);
        told.push(`${number}: ${damage(file, next)}`);
        loops.push(await attach(file));
      }
      // As over boots: now and then on a new data root, mostly on the one that the disks before have filled.
      if (done % (5 * AT_ONCE) === 0) {
        rmSync(dataRoot, { recursive: true, force: true });
        loadImages(dataRoot, [userSpec], 'user');
      }
      rmSync(path.join(folder, 'status'), { recursive: true, force: true });
      writeFileSync(
        config,
        JSON.stringify({
          labels: [`${prefix}-?*`, `${prefix}-good`],
          dataRoot,
          mountRoot,
          dockerConfig: path.join(folder, 'daemon.json'),
          statusSocket: path.join(folder, 'status/status.sock'),
        }),
      );
      const start = performance.now();
      const { exitCode, all } = await agent(['apply', '--config', config]);
      const seconds = (performance.now() - start) / 1000;
      slowest = Math.max(slowest, seconds);
      const context = `disks from ${done}, seed ${seed}: ${told.join('; ')}\n${all.slice(0, 4000)}`;
      assert.ok(exitCode !== undefined && [0, 1, 3].includes(exitCode), `exit status ${String(exitCode)}; ${context}`);
      assert.ok(seconds < SECONDS, `${seconds} s; ${context}`);
      assert.doesNotMatch(all, /INTERNAL|panic|Segmentation|at .*\.ts:\d+/, context);
      assert.deepEqual(imageProblems(dataRoot, userSpec), [], context);
      assert.deepEqual(imageProblems(dataRoot, goodSpec), [], context);
      assert.ok(references(dataRoot).has('mine:1'), context);
      for (const code of all.match(
        /: (\w+): mount failed|clean|at least|layers? (?:is|are) missing|is left out|cannot be read/g,
      ) ?? ['no word'])
        outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
      for (const name of existsSync(mountRoot) ? readdirSync(mountRoot) : [])
        if (name !== `${prefix}-good`) await unmountBelow(path.join(mountRoot, name));
      for (const loop of loops) await loop.detach();
    }
    await unmountBelow(mountRoot);
    await good.detach();
    test.diagnostic(
      `${DISKS} disks in runs of ${AT_ONCE}; slowest run ${slowest.toFixed(1)} s; said: ${[...outcomes].map(([what, count]) => `${what.trim()} ${count}`).join(', ')}`,
    );
  });
});
