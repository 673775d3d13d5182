import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { built } from '../../agent/packaging/build-program.ts';
import { loadImages, type ImageSpec } from '../boot/fake-store.ts';
import { dockerArchive, type ArchiveImage } from '../support/docker-archive.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeDisk } from '../support/disk.ts';
import { unmountBelow } from '../support/temp-tree.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { craftTree, hostileDisks } from '../safety/hostile-disks.ts';
import { TwoExecutables } from './two-executables.ts';

const root = path.resolve(import.meta.dirname, '../..');
const prefix = `t${process.pid.toString(36)}`;
const userSpec: ImageSpec = { layers: ["the user's"], references: ['mine:1', 'good:1'] };
const goodSpec: ImageSpec = { layers: ['good base', 'good middle', 'good top'], references: ['good:1', 'good:2'] };

let two: TwoExecutables;

before(async () => {
  await ensureDebianPackages(['perl', 'e2fsprogs'], { install: true });
  two = await TwoExecutables.in('dpl-same', [userSpec]);
});
after(() => cleanUpAll());

const at = (name: string): string => two.at(name);

async function diskOf(name: string, specs: readonly ImageSpec[]): Promise<string> {
  loadImages(at(name), specs, name);
  await makeDiskFile(at(name), at(`${name}.ext4`), `${prefix}-${name}`);
  return at(`${name}.ext4`);
}

describe('the small executable makes the store, status and metrics of the whole one', () => {
  it('without a disk', async () => {
    two.writeConfig([`${prefix}-none`]);
    const [first] = await two.agree([() => undefined]);
    assert.equal(first?.exitCode, 3);
  });

  it('of a disk that a dockerd has made: first, again, where it is gone, and where it is back', async () => {
    await two.withDisks([await diskOf('good', [goodSpec])], async () => {
      const here = (): void => two.writeConfig([`${prefix}-good`]);
      const gone = async (): Promise<void> => {
        await unmountBelow(at('disks'));
        two.writeConfig([`${prefix}-x*`]);
      };
      const runs = await two.agree([here, here, gone, here]);
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
    await two.withDisks(files, async () => {
      const both = (): void => two.writeConfig([`${prefix}-one`], { required: [`${prefix}-two@${manifest.digest}`] });
      const disk = (): void => two.writeConfig([`${prefix}-two`, `${prefix}-one`], { conflicts: 'disk' });
      const wrong = (): void => two.writeConfig([], { required: [`${prefix}-two@sha256:${'0'.repeat(64)}`] });
      const runs = await two.agree([both, disk, wrong]);
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
      two.writeConfig([`${prefix}-${number}`]);
      await two.withDisks(
        [at(`${number}.ext4`)],
        async () => void (await two.agree([() => undefined, () => undefined])),
      );
    });
});
