import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { attach, type LoopDevice } from '../support/loop-device.ts';
import { unmountBelow, tempTree } from '../support/temp-tree.ts';
import { imageProblems, loadImages, references, type ImageSpec } from '../boot/fake-store.ts';
import { makeDiskFile } from './disk-file.ts';
import { craftTree, hostileDisks, spareSpec } from './hostile-disks.ts';
import { checkOutput, HostileRuns } from './hostile-runs.ts';
import type { Measured } from './measured.ts';

const goodSpec: ImageSpec = { layers: ['good base', 'good top'], references: ['good:1'] };
const userSpec: ImageSpec = { layers: ["the user's"], references: ['mine:1'] };
const SECRET = 'what no disk may lead to\n';
const prefix = `h${process.pid.toString(36)}`;

let folder: string;
let config: string;
let dataRoot: string;
let mountRoot: string;
let canary: string;
const runs = new HostileRuns();

before(async () => {
  await ensureDebianPackages(['strace', 'perl'], { install: true });
  folder = (await tempTree('dpl-hostile', 'in-memory')).path;
  [config, dataRoot, mountRoot, canary] = ['config.json', 'data', 'disks', 'canary'].map((name) =>
    path.join(folder, name),
  ) as [string, string, string, string];
  for (const file of [
    'secret',
    'layerdb/sha256/secret',
    'overlay2/repositories.json',
    'repositories.json',
    'diff/secret',
  ]) {
    mkdirSync(path.dirname(path.join(canary, file)), { recursive: true });
    writeFileSync(path.join(canary, file), SECRET);
  }
  const root = path.join(folder, 'good');
  loadImages(root, [goodSpec], 'good');
  await makeDiskFile(root, `${root}.ext4`, `${prefix}-good`);
  await attach(`${root}.ext4`);
});
after(async () => {
  await cleanUpAll();
  runs.tell();
});
beforeEach(() => freshStore());

function freshStore(): void {
  rmSync(dataRoot, { recursive: true, force: true });
  rmSync(path.join(folder, 'status'), { recursive: true, force: true });
  loadImages(dataRoot, [userSpec], 'user');
}

function writeConfig(labels: readonly string[]): void {
  writeFileSync(
    config,
    JSON.stringify({
      labels: [...labels, `${prefix}-good`],
      dataRoot,
      mountRoot,
      dockerConfig: path.join(folder, 'daemon.json'),
      statusSocket: path.join(folder, 'status/status.sock'),
      deviceTimeoutSec: 5,
    }),
  );
}

async function withDisk<T>(file: string, work: () => Promise<T>): Promise<T> {
  const loop = await attach(file);
  try {
    return await work();
  } finally {
    for (const name of existsSync(mountRoot) ? readdirSync(mountRoot) : [])
      if (name !== `${prefix}-good`) await unmountBelow(path.join(mountRoot, name));
    await loop.detach();
  }
}

/** Runs `apply`, and checks what holds whatever the disks are. */
async function applyWithin(what: string): Promise<Measured> {
  const result = await runs.apply(what, config);
  checkSecret(result.all);
  checkStore();
  return result;
}

function checkSecret(all: string): void {
  assert.ok(!all.includes(SECRET.trim()), all);
}

/** The user's and the other disk's images work; every link leads to a disk; nothing of the machine was copied. */
function checkStore(): void {
  assert.deepEqual(imageProblems(dataRoot, userSpec), []);
  assert.deepEqual(imageProblems(dataRoot, goodSpec), []);
  for (const name of ['good:1', 'mine:1']) assert.ok(references(dataRoot).has(name), name);
  const walk = (at: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const file = path.join(at, entry.name);
      const stats = lstatSync(file);
      if (entry.isSymbolicLink())
        assert.match(
          readlinkSync(file),
          new RegExp(`^\\.\\./[^/]+/diff$|^${mountRoot}/[^/]+/overlay2/[A-Za-z0-9_-]+/diff$`),
          file,
        );
      else if (entry.isDirectory()) walk(file);
      else {
        assert.ok(
          stats.isFile() && stats.size < 2 ** 20 * 33,
          `${file}: expected a file of common size, found mode ${stats.mode.toString(8)} of ${stats.size} bytes`,
        );
        if (stats.size < 4096) assert.ok(!readFileSync(file, 'utf8').includes(SECRET.trim()), file);
      }
    }
  };
  walk(dataRoot);
}

describe('a hostile disk', () => {
  for (const [number, disk] of hostileDisks.entries()) {
    it(`costs nothing but what is wrong on it: ${disk.name}`, async () => {
      const label = `${prefix}-${number}`;
      const root = path.join(folder, `tree-${number}`);
      craftTree(root, disk, { canary, otherDisk: path.join(mountRoot, `${prefix}-good`) });
      await makeDiskFile(root, path.join(folder, `${number}.ext4`), label);
      rmSync(root, { recursive: true });
      writeConfig([label]);
      await withDisk(path.join(folder, `${number}.ext4`), async () => {
        const { all, exitCode } = await applyWithin(disk.name);
        const said = all.split('\n').filter((line) => line.includes(`disk ${label}`) && !/^(degraded|ok): /.test(line));
        if (disk.why === undefined) assert.equal(exitCode, 0, all.slice(0, 2000));
        else {
          assert.ok(
            said.some((line) => disk.why?.test(line)),
            all.slice(0, 2000),
          );
          assert.ok(said.length <= 51, `${said.length} lines`);
        }
        if (disk.spares) assert.deepEqual(imageProblems(dataRoot, spareSpec), []);
      });
    });
  }

  const plain = async (name: string, label: string | Buffer): Promise<string> => {
    const root = path.join(folder, `tree-${name}`);
    loadImages(root, [spareSpec], name);
    await makeDiskFile(root, path.join(folder, `${name}.ext4`), label);
    return path.join(folder, `${name}.ext4`);
  };

  for (const [number, label] of [
    `${prefix}-\u001B[2J\n`,
    `${prefix}-/../..`,
    `${prefix}-\u0000rest`,
    `${prefix} x`,
  ].entries()) {
    it(`is left out by its label: ${JSON.stringify(label)}`, async () => {
      writeConfig([`${prefix}?*`]);
      const bytes = Buffer.from(label, 'latin1');
      await withDisk(await plain(`label-${number}`, bytes.subarray(0, 16)), async () => {
        const { all } = await applyWithin(`label ${JSON.stringify(label)}`);
        // A label ends at its first zero byte.
        if (!label.includes('\0'))
          assert.match(all, /expected at most 16 letters, digits, dots, dashes and underscores; it is left out/);
        assert.deepEqual(
          readdirSync(mountRoot).filter((name) => !/^[\w.-]+$/.test(name)),
          [],
        );
      });
    });
  }

  it('is passed over where the device is empty, or too short', async () => {
    writeConfig([`${prefix}-empty*`]);
    for (const size of [0, 512, 2048, 1_048_576]) {
      const file = path.join(folder, `empty-${size}`);
      writeFileSync(file, Buffer.alloc(size));
      await withDisk(file, async () => {
        const { exitCode, all } = await applyWithin(`an empty device of ${size} bytes`);
        assert.equal(exitCode, 0);
        assert.match(all, /^ok: 1 disk, 1 image, [^\n]*$/);
      });
    }
  });

  it('cannot take the kernel down with it: a superblock that says `errors=panic` is overruled', async () => {
    const file = await plain('panic', `${prefix}-panic`);
    await execa('tune2fs', ['-e', 'panic', file]);
    writeConfig([`${prefix}-panic`]);
    await withDisk(file, async () => {
      assert.equal((await applyWithin('errors=panic')).exitCode, 0);
      const mounted = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((line) => line.includes(` ${mountRoot}/${prefix}-panic `));
      assert.match(mounted ?? 'not mounted', /errors=continue/);
    });
  });

  it('is named where its end is cut off', async () => {
    const file = await plain('cut', `${prefix}-cut`);
    writeConfig([`${prefix}-cut`]);
    await execa('truncate', ['-s', '-64K', file]);
    await withDisk(file, async () =>
      assert.match(
        (await applyWithin('a cut disk')).all,
        /expected a device of at least \d+ bytes, found \d+; copy the disk again/,
      ),
    );
  });

  it('is one of fifty that are used at once', async (test) => {
    const loops: LoopDevice[] = [];
    const root = path.join(folder, 'tree-fifty');
    loadImages(root, [spareSpec], 'fifty');
    const specs: ImageSpec[] = [];
    for (let number = 0; number < 50; number += 1) {
      const spec: ImageSpec = { layers: [...spareSpec.layers, `of disk ${number}`], references: [`fifty:${number}`] };
      specs.push(spec);
      loadImages(root, [spec], `fifty ${number}`);
      const file = path.join(folder, `fifty-${number}.ext4`);
      await makeDiskFile(root, file, `${prefix}-f${number}`);
      loops.push(await attach(file));
    }
    writeConfig([`${prefix}-f*`]);
    const result = await applyWithin('fifty disks');
    for (const spec of specs) assert.deepEqual(imageProblems(dataRoot, spec), []);
    for (const name of readdirSync(mountRoot))
      if (name !== `${prefix}-good`) await unmountBelow(path.join(mountRoot, name));
    for (const loop of loops) await loop.detach();
    test.diagnostic(`fifty disks: ${result.peakMb.toFixed(0)} MB, ${result.seconds} s`);
  });
});

describe('all hostile disks at once', () => {
  it('lead to no write outside of the data root, the mount root and the runtime folder, and to no read off the disks', async (test) => {
    const loops: LoopDevice[] = [];
    for (const number of hostileDisks.keys()) loops.push(await attach(path.join(folder, `${number}.ext4`)));
    writeConfig([`${prefix}-*`]);
    const log = path.join(folder, 'strace.log');
    const { exitCode, all } = await execa(
      'strace',
      [
        '--follow-forks',
        '--quiet=all',
        '--decode-fds=path',
        '--seccomp-bpf',
        '--string-limit=4096',
        '-o',
        log,
        '--trace=%file,ftruncate,fchmod,fchown',
        ...agentCommand(),
        'apply',
        '--config',
        config,
      ],
      { reject: false, all: true, stdin: 'ignore', timeout: 120_000, maxBuffer: 2 ** 26 },
    );
    for (const name of readdirSync(mountRoot))
      if (name !== `${prefix}-good`) await unmountBelow(path.join(mountRoot, name));
    for (const loop of loops) await loop.detach();
    assert.equal(exitCode, 3, all.slice(0, 2000));
    checkOutput(all);
    checkSecret(all);
    checkStore();
    const own = [dataRoot, mountRoot, path.join(folder, 'status')];
    const isOwn = (file: string): boolean => own.some((root) => file === root || file.startsWith(`${root}/`));
    const strays: string[] = [];
    let calls = 0;
    for (const line of readFileSync(log, 'utf8').split('\n')) {
      const [, name, text] = /^\d+\s+(\w+)\((.*)$/.exec(line) ?? [];
      if (name === undefined || text === undefined || / = -1 /.test(line)) continue;
      calls += 1;
      const opened = /= \d+<([^>]*)>/.exec(line)?.[1] ?? '';
      if (opened.startsWith(canary) || opened === '/etc/shadow') strays.push(line);
      const writes = name.startsWith('open')
        ? /O_WRONLY|O_RDWR|O_CREAT|O_TRUNC/.test(text)
        : !/^(access|faccessat2?|stat|lstat|newfstatat|statx|readlink|readlinkat|statfs|getcwd|execve|inotify_add_watch|chdir|getxattr|lgetxattr)$/.test(
            name,
          );
      const target = name.startsWith('open') ? opened : ([...text.matchAll(/["<](\/[^">]*)[">]/g)].at(-1)?.[1] ?? '');
      if (
        writes &&
        !isOwn(target) &&
        !/^\/(dev|proc)\//.test(target) &&
        !(name === 'mount' && text.includes(`"${mountRoot}/`))
      )
        strays.push(line);
    }
    test.diagnostic(`${hostileDisks.length} disks, ${calls} calls with a path`);
    assert.ok(calls > 1000, String(calls));
    assert.deepEqual(strays, []);
  });
});
