import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { built } from '../../agent/packaging/build-program.ts';
import { loadImages, type ImageSpec } from '../boot/fake-store.ts';
import { dockerArchive, type ArchiveImage } from '../support/docker-archive.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeDisk } from '../support/disk.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { differences, readTree, type Tree } from '../support/tree.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { craftTree, hostileDisks } from '../safety/hostile-disks.ts';

const root = path.resolve(import.meta.dirname, '../..');
const prefix = `t${process.pid.toString(36)}`;
const userSpec: ImageSpec = { layers: ["the user's"], references: ['mine:1', 'good:1'] };
const goodSpec: ImageSpec = { layers: ['good base', 'good middle', 'good top'], references: ['good:1', 'good:2'] };

let folder: string;

/** Alone, so that it cannot become the whole one. */
let alone: string;

before(async () => {
  await ensureDebianPackages(['perl', 'e2fsprogs'], { install: true });
  folder = (await tempTree('dpl-same', 'in-memory')).path;
  alone = at('docker-preloader');
  copyFileSync(path.join(root, 'dist', built.small), alone);
});
after(() => cleanUpAll());

/** What a run has left and said, without what differs from run to run. */
interface Outcome {
  readonly exitCode: number | undefined;
  /** On standard output, and on standard error. */
  readonly said: readonly [string, string];
  readonly status: unknown;
  readonly metrics: string;
  readonly store: Tree;
}

const at = (name: string): string => path.join(folder, name);

function writeConfig(labels: readonly string[], more: object = {}): void {
  writeFileSync(
    at('config.json'),
    JSON.stringify({
      labels,
      dataRoot: at('data'),
      mountRoot: at('disks'),
      dockerConfig: at('daemon.json'),
      statusSocket: at('status/status.sock'),
      deviceTimeoutSec: 0,
      store: 'overlay2',
      ...more,
    }),
  );
}

async function applied(program: string): Promise<Outcome> {
  const { exitCode, stdout, stderr } = await execa(program, ['apply', '--config', at('config.json')], {
    reject: false,
    stdin: 'ignore',
    timeout: 60_000,
  });
  assert.notEqual(exitCode, 2, stderr);
  return {
    exitCode,
    said: [steady(stdout), steady(stderr)],
    status: steadyStatus(JSON.parse(readFileSync(at('status/status.json'), 'utf8'))),
    metrics: readFileSync(at('status/metrics.prom'), 'utf8').replaceAll(/(?<=_(?:seconds|usec)\b.*) [\d.e+]+$/gm, ' N'),
    store: readTree(at('data')),
  };
}

/** Times are never the same. */
const steady = (text: string): string => text.replaceAll(/\d+ ms\b/g, 'N ms');

function steadyStatus(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, inner: unknown) =>
    /Usec$|Since$/.test(key) ? 0 : typeof inner === 'string' ? steady(inner) : inner,
  );
}

/** Runs that follow each other, from a store as it was; with one of the two executables. */
async function livesOf(program: string, steps: readonly (() => void | Promise<void>)[]): Promise<Outcome[]> {
  for (const name of ['data', 'status']) rmSync(at(name), { recursive: true, force: true });
  loadImages(at('data'), [userSpec], 'user');
  const outcomes: Outcome[] = [];
  for (const step of steps) {
    await step();
    outcomes.push(await applied(program));
  }
  await unmountBelow(at('disks'));
  return outcomes;
}

/** Both executables do the same in the same steps. */
async function agree(steps: readonly (() => void | Promise<void>)[]): Promise<Outcome[]> {
  const whole = await livesOf(path.join(root, 'dist', built.whole), steps);
  const small = await livesOf(alone, steps);
  assert.equal(small.length, steps.length);
  for (const [index, expected] of whole.entries()) {
    const found = small[index] ?? assert.fail();
    assert.deepEqual(differences(expected.store, found.store), [], `run ${index + 1}`);
    assert.deepEqual(found, expected, `run ${index + 1}`);
  }
  return small;
}

async function withDisks<Result>(files: readonly string[], work: () => Promise<Result>): Promise<Result> {
  const loops = [];
  try {
    for (const file of files) loops.push(await attach(file));
    return await work();
  } finally {
    await unmountBelow(at('disks'));
    for (const loop of loops) await loop.detach();
    for (const file of files) rmSync(file);
  }
}

async function diskOf(name: string, specs: readonly ImageSpec[]): Promise<string> {
  loadImages(at(name), specs, name);
  await makeDiskFile(at(name), at(`${name}.ext4`), `${prefix}-${name}`);
  return at(`${name}.ext4`);
}

describe('the small executable makes the store, status and metrics of the whole one', () => {
  it('without a disk', async () => {
    writeConfig([`${prefix}-none`]);
    const [first] = await agree([() => undefined]);
    assert.equal(first?.exitCode, 3);
  });

  it('of a disk that a dockerd has made: first, again, where it is gone, and where it is back', async () => {
    await withDisks([await diskOf('good', [goodSpec])], async () => {
      const here = (): void => writeConfig([`${prefix}-good`]);
      const gone = async (): Promise<void> => {
        await unmountBelow(at('disks'));
        writeConfig([`${prefix}-x*`]);
      };
      const runs = await agree([here, here, gone, here]);
      assert.deepEqual(
        runs.map(({ exitCode }) => exitCode),
        [0, 0, 0, 0],
      );
      assert.ok(readdirSync(at('data/overlay2/l')).length > 3);
    });
  });

  it('of disks that we have built, one pinned, whose names are in conflict with each other and with the user', async () => {
    const images = (about: string): ArchiveImage[] => [
      {
        tags: ['good:1', `${about}:1`],
        layers: [[{ name: 'base', content: 'shared' }], [{ name: about, content: about }]],
      },
      {
        tags: ['mine:1', 'ümläut/é:1'.replaceAll(/[^a-z:/1]/g, 'x')],
        layers: [[{ name: `only ${about}`, content: about }]],
      },
    ];
    const build = async (about: string): Promise<string> =>
      makeDisk(at(`${about}.raw`), await dockerArchive(images(about)), '--label', `${prefix}-${about}`);
    const files = [await build('one'), await build('two')];
    const { stdout } = await execa(path.join(root, 'dist', built.small), ['inspect', files[1] ?? '', '--json']);
    const { manifest } = JSON.parse(stdout) as { manifest: { digest: string } };
    await withDisks(files, async () => {
      const both = (): void => writeConfig([`${prefix}-one`], { required: [`${prefix}-two@${manifest.digest}`] });
      const disk = (): void => writeConfig([`${prefix}-two`, `${prefix}-one`], { conflicts: 'disk' });
      const wrong = (): void => writeConfig([], { required: [`${prefix}-two@sha256:${'0'.repeat(64)}`] });
      const runs = await agree([both, disk, wrong]);
      assert.deepEqual(
        runs.map(({ exitCode }) => exitCode),
        [0, 0, 1],
      );
    });
  });

  for (const [number, disk] of hostileDisks.entries())
    it(`of a hostile disk: ${disk.name}`, async () => {
      const tree = at(`tree-${number}`);
      craftTree(tree, disk, { canary: at('canary'), otherDisk: at('disks/other') });
      await makeDiskFile(tree, at(`${number}.ext4`), `${prefix}-${number}`);
      rmSync(tree, { recursive: true });
      writeConfig([`${prefix}-${number}`]);
      await withDisks([at(`${number}.ext4`)], async () => void (await agree([() => undefined, () => undefined])));
    });
});
