import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { WAITED_FOR } from '../../agent/commands/direct.ts';
import { built } from '../../agent/packaging/build-program.ts';
import { digestOf, ociLayout, tarOf } from '../builder/archive/archives.ts';
import { makeTar } from '../builder/tar/make-tar.ts';
import { loadImages, type ImageSpec } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { TwoExecutables } from '../tiny/two-executables.ts';
import { arm64 } from './arm64-package.ts';
import { emulated } from './emulated.ts';

const root = path.resolve(import.meta.dirname, '../..');
const own = { small: path.join(root, 'dist', built.small), whole: path.join(root, 'dist', built.whole) };
const prefix = `a${process.pid.toString(36)}`;
const TIMEOUT_MS = 60_000;
/** With folders as sources, `apply` starts itself once more, which this machine's kernel does not do for arm64. */
const options = [WAITED_FOR];

let folder: string;
let small: string;
let whole: string;

before(async () => {
  await ensureDebianPackages(['perl', 'e2fsprogs'], { install: true });
  folder = (await tempTree('dpl-arm64')).path;
  small = await emulated(arm64.small, at('small'));
  whole = await emulated(arm64.whole, at('whole'));
});
after(() => cleanUpAll());

const at = (name: string): string => path.join(folder, name);

interface Said {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

async function said(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<Said> {
  const { exitCode, stdout, stderr } = await execa(program, args, {
    reject: false,
    cwd: folder,
    timeout: TIMEOUT_MS,
    env: { PATH: process.env['PATH'], ...env },
    extendEnv: false,
  });
  return { exitCode, stdout, stderr };
}

/** Both say the same. @returns what */
async function agree(args: readonly string[]): Promise<Said> {
  const expected = await said(own.whole, args);
  assert.deepEqual(await said(whole, args), expected, args.join(' '));
  return expected;
}

const layerOf = (architecture: string): Buffer => makeTar([{ name: architecture, content: architecture }]);

/** The files of an OCI layout with one image for each of some architectures. */
function ofPlatforms(architectures: readonly string[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  const manifests = architectures.map((architecture) => {
    for (const [name, content] of ociLayout([{ tags: [], layers: [layerOf(architecture)] }], 'zstd'))
      files.set(name, content);
    const { manifests: one } = JSON.parse(files.get('index.json')?.toString() ?? '') as { manifests: object[] };
    return { ...one[0], platform: { os: 'linux', architecture } };
  });
  return files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
}

describe('the program for arm64, under QEMU', () => {
  it('tells its version, the engine too', async () => {
    assert.deepEqual(await said(small, ['--version']), await said(own.small, ['--version']));
    assert.equal((await agree(['--version'])).exitCode, 0);
  });

  it('stays itself whatever the environment says', async () => {
    const marker = at('marker');
    writeFileSync(at('preload.js'), `require('node:fs').writeFileSync(${JSON.stringify(marker)}, '')`);
    const { stdout } = await said(whole, ['--version']);
    for (const env of [
      { BUN_BE_BUN: '1' },
      { BUN_OPTIONS: `--preload=${at('preload.js')}` },
      { BUN_BYTECODE_ORDER_OUT: marker },
    ]) {
      assert.equal((await said(whole, ['--version'], env)).stdout, stdout, JSON.stringify(env));
      assert.ok(!existsSync(marker), JSON.stringify(env));
    }
  });

  it('starts from the bytecode that was made on another machine', async () => {
    // A module that is parsed is a miss.
    const verbose = { BUN_JSC_verboseDiskCache: '1' };
    const { stderr } = await said(whole, ['--version'], verbose);
    assert.ok(stderr.split('\n').filter((line) => line.includes('Cache hit')).length > 5, stderr);
    assert.equal(stderr, (await said(own.whole, ['--version'], verbose)).stderr);
  });

  for (const filesystem of ['ext4', 'erofs'])
    it(`makes the same ${filesystem}, to the byte, and finds the same on it`, async () => {
      const files = [
        { name: 'etc' },
        { name: 'etc/motd', content: 'hello\n' },
        { name: 'large', content: Buffer.alloc(300_000, 'docker') },
      ];
      writeFileSync(
        at('app.tar'),
        await dockerArchive([{ tags: ['app:1'], layers: [files, [{ name: 'above', content: 'b' }]] }]),
      );
      const args = ['build', 'app.tar', '-o', 'made.raw', '--quiet', '--filesystem', filesystem, '--blobs', 'tar'];
      const expected = await said(own.whole, args);
      assert.equal(expected.exitCode, 0, expected.stderr);
      const disk = readFileSync(at('made.raw'));
      rmSync(at('made.raw'));
      assert.deepEqual(await said(whole, args), expected);
      assert.ok(readFileSync(at('made.raw')).equals(disk));
      const { stdout, exitCode } = await agree(['inspect', '--deep', '--json', 'made.raw']);
      assert.equal(exitCode, 0);
      assert.match(stdout, /app:1/);
    });

  it('fills the store as the other one does: from a disk, again, and where it is gone', async () => {
    const user: ImageSpec = { layers: ["the user's"], references: ['mine:1', 'good:1'] };
    const images: ImageSpec = { layers: ['base', 'middle', 'top'], references: ['good:1', 'good:2'] };
    for (const [name, expected, found] of [
      ['small', own.small, small],
      ['whole', own.whole, whole],
    ] as const) {
      const two = await TwoExecutables.in('dpl-arm64', [user], { expected, found });
      loadImages(two.at('good'), [images], 'good');
      await makeDiskFile(two.at('good'), two.at('good.ext4'), `${prefix}-good`);
      await two.withDisks([two.at('good.ext4')], async () => {
        const here = (): void => two.writeConfig([`${prefix}-good`]);
        const gone = async (): Promise<void> => {
          await unmountBelow(two.at('disks'));
          two.writeConfig([`${prefix}-x*`]);
        };
        const runs = await two.agree([here, here, gone, here]);
        assert.deepEqual(
          runs.map(({ exitCode }) => exitCode),
          [0, 0, 0, 0],
          name,
        );
      });
    }
  });

  it('takes a folder as a disk', async () => {
    const two = await TwoExecutables.in('dpl-arm64', [], { expected: own.small, found: small, options });
    loadImages(two.at('shared'), [{ layers: ['base', 'top'], references: ['folder:1'] }], 'shared');
    chmodSync(two.at('shared'), 0o700);
    const [run] = await two.agree([() => two.writeConfig([], { sources: [two.at('shared')] })]);
    assert.equal(run?.exitCode, 0, run?.said.join('\n'));
    assert.match(run.said.join('\n'), /^ok: 1 disk, 1 image, 2 layers/m);
  });

  // On arm64, the flag of open(2) for that is another number.
  it('follows no symlink on a disk', async () => {
    for (const [name, expected, found] of [
      ['small', own.small, small],
      ['whole', own.whole, whole],
    ] as const) {
      const two = await TwoExecutables.in('dpl-arm64', [], { expected, found, options });
      loadImages(two.at('shared'), [{ layers: ['base'], references: ['linked:1'] }], 'shared');
      chmodSync(two.at('shared'), 0o700);
      const names = two.at('shared/image/overlay2/repositories.json');
      renameSync(names, `${names}.other`);
      symlinkSync(`${path.basename(names)}.other`, names);
      const [run] = await two.agree([() => two.writeConfig([], { sources: [two.at('shared')] })]);
      assert.equal(run?.exitCode, 3, name);
      assert.match(run.said.join('\n'), /expected a regular file, found a symlink/, name);
    }
  });

  it('makes a disk of images for its own platform, or for what is chosen', async () => {
    const platforms = ['amd64', 'arm64'];
    writeFileSync(at('platforms.tar'), tarOf(ofPlatforms(platforms)));
    for (const [program, args, platform] of [
      [whole, [], 'arm64'],
      [own.whole, [], 'amd64'],
      [own.whole, ['--platform', 'linux/arm64'], 'arm64'],
      [whole, ['--platform', 'linux/amd64'], 'amd64'],
    ] as const) {
      const { stderr, exitCode } = await said(program, [
        'build',
        'platforms.tar=app:1',
        '-o',
        'of.raw',
        '--quiet',
        ...args,
      ]);
      assert.equal(exitCode, 0, stderr);
      const { stdout } = await said(own.whole, ['inspect', '--json', 'of.raw']);
      for (const each of platforms)
        assert.equal(stdout.includes(digestOf(layerOf(each))), each === platform, `${args.join(' ')}: ${stdout}`);
    }
  });
});
