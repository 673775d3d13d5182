import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { buildSmallExecutable } from '../../agent/packaging/small/small-executable.ts';
import { agreedEngine } from '../../agent/packaging/small/agreed-engine.ts';
import { build, built } from '../../agent/packaging/build-program.ts';
import { fetchDebianPackage } from '../support/debian-packages.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { type TempTree, tempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };

describe('npm run build', () => {
  let folder: TempTree;

  before(async () => {
    folder = await tempTree();
    await build(root, path.join(folder.path, 'dist'));
    // Alone, as a user would copy it: no node_modules above it.
    copyFileSync(path.join(folder.path, 'dist/docker-preloader.mjs'), path.join(folder.path, 'alone.mjs'));
  });
  after(() => folder.remove());

  /** The files, each with how it is started: the executables get no PATH, so no Node. */
  const programs: readonly {
    name: string;
    run: (args: readonly string[], env?: Record<string, string>) => SpawnSyncReturns<string>;
  }[] = (['small', 'whole'] as const).map((name) => ({
    name: `the ${name} docker-preloader`,
    run: (args: readonly string[], env = {}) => start(path.join(folder.path, 'dist', built[name]), args, env),
  }));

  function start(file: string, args: readonly string[], env: Record<string, string>): SpawnSyncReturns<string> {
    return spawnSync(file, args, { encoding: 'utf8', env, cwd: folder.path, timeout: 30_000 });
  }

  for (const { name, run } of programs) {
    it(`${name} prints its version with an empty environment`, () => {
      const { stdout, stderr, status } = run(['--version']);
      assert.deepEqual({ stderr, status }, { stderr: '', status: 0 });
      assert.ok(stdout.includes(version), stdout);
    });

    it(`${name} lists its commands`, () => {
      const { stdout, status } = run(['--help']);
      assert.equal(status, 0);
      for (const command of ['run', 'apply', 'unlink', 'plan', 'status', 'build', 'inspect']) {
        assert.match(stdout, new RegExp(`^ +${command}\\b`, 'm'));
      }
    });

    for (const args of [['frobnicate'], ['apply', '--frobnicate'], ['apply', '--config'], ['status', 'extra']]) {
      it(`${name} ${args.join(' ')}: wrong usage exits 2, in one line`, () => {
        const { stdout, stderr, status } = run(args);
        assert.equal(status, 2, stderr);
        assert.equal(stdout, '');
        assert.match(stderr, /^[^\n]+\n$/);
      });
    }

    // plan probes dockerd's flock, which is a call into libc: this shows that each file brings its own way there.
    it(`${name} calls libc`, () => {
      const config = path.join(folder.path, 'config.json');
      writeFileSync(
        config,
        JSON.stringify({
          labels: ['no-such-*'],
          dataRoot: path.join(folder.path, 'data'),
          dockerConfig: path.join(folder.path, 'daemon.json'),
        }),
      );
      const { stdout, stderr, status } = run(['plan', '--config', config]);
      assert.equal(status, 0, stdout + stderr);
    });
  }

  it('the small docker-preloader names its engine', () =>
    assert.match(
      programs[0]?.run(['-V']).stdout ?? '',
      /^docker-preloader \S+ \(disk format \d+\.\d+, quickjs 20\d\d\.\d\d\.\d\d\S*\)\n$/,
    ));

  it('the small docker-preloader says where the whole one is missing, in one line', () => {
    const alone = path.join(folder.path, 'bin/docker-preloader');
    mkdirSync(path.dirname(alone));
    copyFileSync(path.join(folder.path, 'dist', built.small), alone);
    for (const args of [['status'], ['build', 'a.tar'], ['apply', '--help'], []]) {
      const { stdout, stderr, status } = start(alone, args, {});
      assert.deepEqual([stdout, status], ['', 1]);
      assert.match(
        stderr,
        /^docker-preloader: expected the rest of this program in \S+\/lib\/docker-preloader\/docker-preloader, found none that can be started: install the package as a whole\n$/,
      );
    }
  });

  it('names the packages of what the small docker-preloader is compiled with, where they are missing', async (t) => {
    const before = process.env['PATH'];
    t.after(() => (process.env['PATH'] = before));
    process.env['PATH'] = folder.path;
    await assert.rejects(buildSmallExecutable(root, path.join(folder.path, 'none'), ''), {
      message:
        'expected what the small engine is compiled with, found no gcc, binutils, patch, tar, xz-utils: install it, on Debian with `apt-get install --no-install-recommends gcc binutils patch tar xz-utils`',
    });
  });

  it('the small docker-preloader has no parser of JavaScript, and is hardened', async () => {
    const file = path.join(folder.path, 'dist', built.small);
    const bytes = readFileSync(file);
    assert.ok(bytes.length < 3_000_000, `${bytes.length} bytes`);
    // What only the parser says.
    const engine = readFileSync(path.join((await agreedEngine(root)).folder, 'quickjs.c'));
    for (const text of ['missing formal parameter', 'unparenthesized unary expression', 'invalid assignment left-hand'])
      assert.deepEqual([engine.includes(text), bytes.includes(text)], [true, false], text);
    const read = (...args: readonly string[]): string =>
      execFileSync('readelf', [...args, '--wide', file], { encoding: 'utf8' });
    assert.match(read('--file-header'), /Type: +DYN/);
    const segments = read('--segments');
    assert.match(segments, /GNU_STACK .* RW /);
    assert.match(segments, /GNU_RELRO/);
    assert.doesNotMatch(segments, /INTERP|RWE/);
    assert.match(read('--dynamic'), /FLAGS_1.* NOW PIE/);
  });

  it('docker-preloader.mjs makes disks and looks into them, and has nothing of the guest and no addon', async () => {
    const module = (args: readonly string[]): SpawnSyncReturns<string> =>
      start(process.execPath, [path.join(folder.path, 'alone.mjs'), ...args], {});
    assert.ok(module(['--version']).stdout.includes(version));
    const { stdout } = module(['--help']);
    assert.deepEqual(
      [...stdout.matchAll(/^ {2}(\w+) (?:\[|<)/gm)].map(([, name]) => name),
      ['build', 'pull', 'export', 'inspect', 'diff', 'attach', 'help'],
    );
    for (const args of [['run'], ['apply'], ['build'], ['build', '--frobnicate', 'a.tar'], []]) {
      const { status, stderr } = module(args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, /^docker-preloader: [^\n]+\n/);
    }
    writeFileSync(
      path.join(folder.path, 'image.tar'),
      await dockerArchive([{ tags: ['app:1'], layers: [[{ name: 'a', content: 'a' }]] }]),
    );
    const built = module(['build', 'image.tar', '-o', 'disk.raw', '--quiet']);
    assert.equal(built.status, 0, built.stderr);
    const inspected = module(['inspect', '--deep', 'disk.raw']);
    assert.equal(inspected.status, 0, inspected.stderr);
    assert.match(inspected.stdout, /app:1/);
    const exported = module(['export', 'disk.raw', 'app:1', '-o', 'back.tar', '--quiet']);
    assert.equal(exported.status, 0, exported.stderr);
    assert.equal(module(['diff', 'disk.raw', 'disk.raw']).status, 0);
    assert.ok(!readFileSync(path.join(folder.path, 'alone.mjs'), 'latin1').includes('linux_x64/koffi'));
    assert.ok(statSync(path.join(folder.path, 'alone.mjs')).size < 1_000_000);
  });

  it('docker-preloader.mjs tells an older Node what it needs', () => {
    const older = `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.20.2'}})`;
    const { stdout, stderr, status } = start(
      process.execPath,
      ['--import', older, path.join(folder.path, 'alone.mjs'), '--version'],
      {},
    );
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(
      stderr,
      /^docker-preloader: expected Node 24 or later, found 20\.20\.2: run this file with a newer one, or the executable, which needs none\n$/,
    );
  });

  it('the whole executable stays itself whatever the environment and the folder say', () => {
    const marker = path.join(folder.path, 'marker');
    const preload = path.join(folder.path, 'preload.js');
    writeFileSync(preload, `require('node:fs').writeFileSync(${JSON.stringify(marker)}, '')`);
    writeFileSync(path.join(folder.path, 'bunfig.toml'), `preload = [${JSON.stringify(preload)}]\n`);
    const run = programs[1]?.run ?? assert.fail();
    const plain = run(['--version']).stdout;
    for (const env of [
      { BUN_BE_BUN: '1' },
      { BUN_OPTIONS: `--preload=${preload}` },
      { BUN_INSPECT_PRELOAD: preload },
      { NODE_OPTIONS: `--require=${preload}` },
      { BUN_BYTECODE_ORDER_OUT: marker },
    ]) {
      assert.equal(run(['--version'], env).stdout, plain, JSON.stringify(env));
      assert.ok(!existsSync(marker), JSON.stringify(env));
    }
  });

  describe('the whole executable stays itself', () => {
    let tools = '';
    before(async () => {
      tools = await fetchDebianPackage('bookworm', [
        'binutils-x86-64-linux-gnu',
        'libbinutils',
        'libctf0',
        'libctf-nobfd0',
        'libjansson4',
        'elfutils',
        'libasm1',
        'libdw1',
        'libelf1',
        'patchelf',
      ]);
    });

    const loader = '/lib64/../lib64/ld-linux-x86-64.so.2';
    for (const commands of [
      ['x86_64-linux-gnu-strip'],
      // dh_strip's way, and what it puts into the file for a debugger.
      [
        'x86_64-linux-gnu-strip --remove-section=.comment --remove-section=.note',
        `x86_64-linux-gnu-objcopy --add-gnu-debuglink=${import.meta.filename}`,
      ],
      ['x86_64-linux-gnu-strip --strip-debug', 'x86_64-linux-gnu-strip --strip-unneeded', 'x86_64-linux-gnu-strip'],
      ['x86_64-linux-gnu-objcopy --strip-debug'],
      ['eu-strip'],
      ['eu-strip --strip-sections --strip-debug'],
      [`patchelf --set-interpreter ${loader}`],
      [`patchelf --set-interpreter ${loader}`, 'x86_64-linux-gnu-strip --strip-debug'],
      ['x86_64-linux-gnu-strip', `patchelf --set-interpreter ${loader}`],
    ]) {
      it(`after ${commands
        .join(', then ')
        .replaceAll('x86_64-linux-gnu-', '')
        .replace(import.meta.filename, 'FILE')}`, () => {
        const [small, file] = (['small', 'whole'] as const).map((name) => {
          const copy = path.join(folder.path, 'packaged', built[name]);
          mkdirSync(path.dirname(copy), { recursive: true });
          copyFileSync(path.join(folder.path, 'dist', built[name]), copy);
          return copy;
        }) as [string, string];
        rmSync(`${file}.bytes`, { force: true });
        for (const command of commands) {
          const [tool = '', ...args] = command.split(' ');
          execFileSync(path.join(tools, 'usr/bin', tool), [...args, file], {
            env: { LD_LIBRARY_PATH: path.join(tools, 'usr/lib/x86_64-linux-gnu') },
            stdio: 'pipe',
          });
        }
        assert.notDeepEqual(readFileSync(file), readFileSync(path.join(folder.path, 'dist', built.whole)));
        assert.equal(start(file, ['--version'], {}).stdout, programs[1]?.run(['--version']).stdout);
        assert.equal(start(file, ['inspect', '/dev/null'], {}).status, 1);
        // The small one takes it once it is told.
        const { size } = statSync(file);
        for (const [told, found] of [
          [size + 1, /found a part of it, or that of another version/],
          [size, /^docker-preloader: \/dev\/null: /],
        ] as const) {
          writeFileSync(`${file}.bytes`, `${told}\n`);
          const { status, stderr } = start(small, ['inspect', '/dev/null'], {});
          assert.equal(status, 1);
          assert.match(stderr, found);
        }
      });
    }
  });
});

describe(
  'npm run build without its tools',
  { skip: process.getuid?.() === 0 ? false : 'hiding headers takes root' },
  () => {
    for (const script of ['build-program', 'build-package'])
      it(`${script} names them in one line, and makes nothing`, () => {
        const { status, stdout, stderr } = spawnSync(
          'unshare',
          [
            '--mount',
            'sh',
            '-c',
            'mount -t tmpfs tmpfs /usr/include && PATH=/nowhere exec "$0" "$@"',
            process.execPath,
            '--disable-warning=ExperimentalWarning',
            `agent/packaging/${script}.ts`,
          ],
          { encoding: 'utf8', cwd: root },
        );
        assert.deepEqual([status, stdout], [1, '']);
        const names = 'gcc binutils patch tar xz-utils libc6-dev';
        assert.equal(
          stderr,
          `build: expected what the small engine is compiled with, found no ${names.replaceAll(' ', ', ')}: install it, on Debian with \`apt-get install --no-install-recommends ${names}\`\n`,
        );
      });
  },
);
