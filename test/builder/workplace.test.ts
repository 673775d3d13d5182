import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { Inspection } from '../../agent/verify/inspect-disk.ts';
import { makeWorkplace } from '../../agent/builder/workplace.ts';
import { agent, agentCommand } from '../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { buildByShell } from './build-by-shell.ts';
import { ociLayout, savedArchive, type ArchiveImage } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';

const image: ArchiveImage = { tags: ['one:1'], layers: [makeTar([{ name: 'one', content: 'one' }])] };
/** Enough files that their inodes need a temporary file. */
const many: ArchiveImage = {
  tags: ['many:1'],
  layers: [makeTar(Array.from({ length: 3000 }, (_, index) => ({ name: `file-${index}`, content: String(index) })))],
};

describe('build and its output', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const [command, ...first] = agentCommand();
  const shell = (script: string): ReturnType<typeof buildByShell> => buildByShell(script, tree.path);
  before(async () => {
    await ensureDebianPackages(['mount', 'qemu-utils', 'bsdutils'], { install: true });
    tree = await tempTree('dpl-output');
    mkdirSync(at('tmp'));
    writeFileSync(at('one.tar'), savedArchive([image]));
    writeFileSync(at('many.tar'), savedArchive([image, many]));
    assert.equal((await agent(['build', '--quiet', at('many.tar'), '-o', at('many.raw')])).exitCode, 0);
  });
  after(cleanUpAll);

  it('is never one of the inputs, under whatever name', async () => {
    copyFileSync(at('one.tar'), at('a.tar'));
    linkSync(at('a.tar'), at('hard.tar'));
    symlinkSync('a.tar', at('link.tar'));
    const base = at('base.qcow2');
    assert.equal((await agent(['build', '--quiet', at('one.tar'), '-o', base])).exitCode, 0);
    assert.equal((await agent(['build', '--quiet', at('one.tar'), '-o', at('loop.raw')])).exitCode, 0);
    const { stdout: loop } = await execa('losetup', ['--find', '--show', '--read-only', at('loop.raw')]);
    const detach = cleanUpLater(loop, async () => {
      await execa('losetup', ['--detach', loop]);
    });
    writeFileSync(at('list.json'), '{}');
    cpSync(at('one.tar'), at('stdin.tar'));
    const layout = at('layout');
    for (const [name, content] of ociLayout([image], 'gzip')) {
      mkdirSync(path.dirname(`${layout}/${name}`), { recursive: true });
      writeFileSync(`${layout}/${name}`, content);
    }
    const blobs = readdirSync(`${layout}/blobs/sha256`).map((name) => `layout/blobs/sha256/${name}`);
    assert.equal(blobs.length, 3);
    const kept = [
      'a.tar',
      'hard.tar',
      'base.qcow2',
      'loop.raw',
      'list.json',
      'stdin.tar',
      'layout/index.json',
      ...blobs,
    ];
    const before = kept.map((name) => [readFileSync(at(name)), statSync(at(name)).ino] as const);
    for (const [script, what] of [
      ['a.tar -o a.tar', 'the archive a.tar'],
      ['one.tar a.tar -o a.tar', 'the archive a.tar'],
      ['link.tar -o a.tar', 'the archive link.tar'],
      ['a.tar=app:1 -o hard.tar', 'the archive a.tar'],
      ['a.tar -o link.tar', 'the archive a.tar'],
      ['a.tar -o layout/../a.tar', 'the archive a.tar'],
      ['- -o stdin.tar < stdin.tar', 'standard input'],
      ['stdin.tar -o - >> stdin.tar', 'the archive stdin.tar'],
      ['many.tar --base base.qcow2 -o base.qcow2', 'the base disk base.qcow2'],
      [`many.tar --base ${loop} -o loop.raw`, `the base disk ${loop}`],
      ['one.tar --read-ahead list.json -o list.json', 'the list of --read-ahead list.json'],
      ['one.tar --dry-run -o a.tar a.tar', 'the archive a.tar'],
      ['a.tar --engine docker -o a.tar', 'the archive a.tar'],
      ['layout -o layout/index.json', 'a file of the archive layout'],
      ...blobs.map((blob) => [`layout -o ${blob}`, 'a file of the archive layout'] as const),
    ] as const) {
      const { exitCode, stderr } = await shell(`$build --quiet ${script}`);
      assert.equal(exitCode, 1, script);
      assert.match(
        stderr,
        new RegExp(
          `^docker-preloader: .*: expected an output that is none of the inputs, found ${what}: choose another$`,
        ),
        script,
      );
    }
    kept.forEach((name, index) =>
      assert.deepEqual([readFileSync(at(name)), statSync(at(name)).ino], before[index], name),
    );
    // A disk that lies in the layout's folder is no part of it.
    for (const _ of ['made', 'replaced']) {
      assert.equal((await shell('$build --quiet layout -o layout/disk.qcow2')).exitCode, 0);
    }
    await detach();
  });

  it('is a file that can be put there, which is seen before anything is read', async () => {
    symlinkSync('/dev/null', at('symlink'));
    for (const [output, found] of [
      ['tmp', 'a folder: name a file in it'],
      ['tmp/', 'a folder: name a file in it'],
      ['new/', 'the name of a folder'],
      ['symlink', 'a symlink: name the file itself'],
      ['/dev/loop0', 'a block device: write to it with -o - \\| dd of=/dev/loop0 bs=1M conv=fsync'],
      ['/dev/null', 'something else: -o - writes to standard output'],
    ] as const) {
      const { exitCode, stderr } = await shell(`$build one.tar -o ${output}`);
      assert.equal(exitCode, 1, output);
      assert.match(
        stderr,
        new RegExp(`^docker-preloader: ${output}: expected a regular file to replace, or nothing, found ${found}$`),
      );
    }
    for (const args of ['one.tar', "one.tar -o ''", 'one.tar -o']) {
      assert.equal((await shell(`$build ${args}`)).exitCode, 2, args);
    }
    assert.match(
      (await shell('$build one.tar -o nowhere/../x.raw')).stderr,
      /^docker-preloader: nowhere\/\.\.\/x\.raw: nothing can be written in the folder nowhere\/\.\.: no such file or folder$/,
    );
  });

  it('may have a name as long as names can be', async () => {
    for (const length of [230, 255]) {
      const name = 'x'.repeat(length);
      assert.equal((await shell(`$build --quiet one.tar -o ${name}`)).exitCode, 0);
      await execa('rm', [at(name)]);
    }
  });

  it('has the format that its ending says, where nothing else does', async () => {
    for (const [name, args, format] of [
      ['x.raw', '', 'raw'],
      ['x.img', '', 'raw'],
      ['X.IMG', '', 'raw'],
      ['x.qcow2', '', 'qcow2'],
      ['x', '', 'qcow2'],
      ['x.disk', '', 'qcow2'],
      ['raw', '', 'qcow2'],
      ['x.raw', '--format qcow2', 'qcow2'],
      ['x.qcow2', '--format raw', 'raw'],
    ] as const) {
      const { stdout } = await shell(`$build --quiet --json one.tar -o ${name} ${args}`);
      assert.equal((JSON.parse(stdout) as { format: string }).format, format, name);
      assert.equal(readFileSync(at(name)).toString('latin1', 0, 3) === 'QFI', format === 'qcow2', name);
    }
    assert.match(
      (await shell('$build one.tar -o x.raw --compress')).stderr,
      /--compress: expected the format qcow2, found raw, by the ending of x\.raw/,
    );
  });

  it('is written to standard output, raw and whole, whoever reads it', async () => {
    assert.equal((await shell('$build --quiet many.tar -o - | (sleep 1; cat > piped.raw)')).exitCode, 0);
    assert.ok(readFileSync(at('piped.raw')).equals(readFileSync(at('many.raw'))));
    const toFile = await shell('$build many.tar -o - > redirected.raw');
    assert.match(toFile.stderr, /^standard output: label dpl-\w{11}, images 2, layers 2, .* manifest sha256:\w{64}$/m);
    assert.ok(readFileSync(at('redirected.raw')).equals(readFileSync(at('many.raw'))));
    // A pipe of node's does not wait.
    const child = spawn(command, [...first, 'build', '--quiet', at('many.tar'), '-o', '-'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, TMPDIR: at('tmp') },
    });
    const pieces: Buffer[] = [];
    for await (const piece of child.stdout) pieces.push(piece as Buffer);
    assert.ok(Buffer.concat(pieces).equals(readFileSync(at('many.raw'))));

    for (const [args, message] of [
      ['-o - --format qcow2', '-o -: expected the format raw, found qcow2, which needs to seek: name a file'],
      ['-o - --compress', '-o -: expected the format raw, found qcow2'],
      ['-o - --json', '--json: expected a file as output, found -: the disk itself goes to standard output'],
    ] as const) {
      const { exitCode, stdout, stderr } = await shell(`$build one.tar ${args}`);
      assert.deepEqual([exitCode, stdout], [2, '']);
      assert.ok(stderr.startsWith(`docker-preloader: ${message}`), stderr);
    }
    const closed = await shell('$build --quiet one.tar -o - >&-');
    assert.equal(closed.exitCode, 2);
    assert.match(closed.stderr, /-o -: expected a file or a pipe as standard output, found it closed/);
    const terminal = await execa(
      'script',
      ['--quiet', '--return', '--command', `${[command, ...first].join(' ')} build ${at('one.tar')} -o -`, '/dev/null'],
      { reject: false, stdin: 'ignore' },
    );
    assert.equal(terminal.exitCode, 2, terminal.stdout);
    assert.match(terminal.stdout, /-o -: expected a file or a pipe as standard output, found a terminal/);
    assert.deepEqual(readdirSync(at('tmp')), []);
  });

  it('leaves nothing behind where the reader of standard output goes, or a signal comes', async () => {
    const gone = await shell('{ $build --quiet many.tar -o -; echo "status $?" >&2; } | head -c 100 > /dev/null');
    assert.match(
      gone.stderr,
      /^docker-preloader: -o -: expected whoever reads standard output to take the whole disk, found it gone\nstatus 1$/,
    );
    assert.match(
      (await shell('$build --quiet many.tar -o - > /dev/full')).stderr,
      /^docker-preloader: -o -: expected room for the disk where standard output goes/,
    );
    const child = spawn(command, [...first, 'build', at('many.tar'), '-o', '-'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: at('tmp') },
    });
    // Nobody reads: it waits for room in the pipe.
    await once(child.stdout, 'readable');
    assert.equal(readdirSync(at('tmp')).length, 1);
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
    child.stdout.destroy();
    assert.deepEqual(readdirSync(at('tmp')), []);
  });

  it('hears a signal until all is removed, as that takes a while', async () => {
    const heard = (): number => process.listenerCount('SIGINT');
    const before = heard();
    let during = 0;
    const workplace = makeWorkplace(at('removed.raw'), { beforeRemoval: () => (during = heard()) });
    workplace.remove();
    assert.deepEqual([during, heard()], [before + 1, before]);
  });

  it('needs a folder for temporary files where it has none of its own', async () => {
    const { stderr } = await shell('TMPDIR=$PWD/nowhere $build --quiet many.tar -o - > /dev/null');
    assert.match(
      stderr,
      /^docker-preloader: \S+\/nowhere: expected a folder for temporary files, found no such file or folder: name another in TMPDIR$/,
    );
  });

  it('is said to be cut off by `inspect`, if it is', async () => {
    for (const [name, args] of [
      ['whole.raw', ''],
      ['whole.qcow2', ''],
      ['erofs.raw', '--filesystem erofs'],
    ] as const) {
      assert.equal((await shell(`$build --quiet many.tar ${args} -o ${name}`)).exitCode, 0);
      assert.equal((await agent(['inspect', at(name)])).exitCode, 0);
      const bytes = readFileSync(at(name));
      for (const share of [0.99, 0.9, 0.5, 0.25]) {
        // Whole blocks, as far as a filesystem's own go.
        writeFileSync(at('cut'), bytes.subarray(0, Math.floor((bytes.length * share) / 4096) * 4096));
        const { exitCode, all } = await agent(['inspect', at('cut')]);
        const found = `${name} ${share}: ${all}`;
        assert.equal(exitCode, 1, found);
        assert.match(
          all,
          /cut: it is cut off: expected a (disk|qcow2) of .* bytes, found \d+: copy (it|the disk) again/,
          found,
        );
      }
    }
  });

  it('is told as JSON', async () => {
    const { stdout } = await shell('$build --quiet --json many.tar -o told.qcow2');
    const told = JSON.parse(stdout) as { images: { id: string; references: string[]; layers: number }[] } & Record<
      string,
      unknown
    >;
    const inspected = JSON.parse((await agent(['inspect', '--json', at('told.qcow2')])).stdout) as Inspection;
    assert.deepEqual(told, {
      output: 'told.qcow2',
      format: 'qcow2',
      filesystem: 'ext4',
      dryRun: false,
      label: inspected.label,
      digest: inspected.manifest?.digest,
      signedBy: null,
      bytes: inspected.sizeBytes,
      images: inspected.images.map(({ id, references, layers }) => ({ id, references, layers: layers.length })),
      layers: 2,
      bases: [],
      pushed: null,
      readAhead: null,
      blobs: { mode: 'keep', count: 0, bytes: 0, addedBytes: 0, leftOut: 2, smallBlocks: false },
    });
    assert.equal(told['bytes'], statSync(at('many.raw')).size);
  });

  for (const filesystem of ['ext4', 'erofs'] as const) {
    it(`is only worked out by a dry run, ${filesystem} to the byte`, async () => {
      const before = readdirSync(tree.path);
      const real = JSON.parse(
        (await shell(`$build --quiet --json many.tar -o tmp/real.raw --filesystem ${filesystem}`)).stdout,
      ) as Record<string, unknown>;
      const dry = JSON.parse(
        (await shell(`$build --quiet --json --dry-run many.tar -o tmp/dry.raw --filesystem ${filesystem}`)).stdout,
      ) as Record<string, unknown>;
      assert.deepEqual(dry, { ...real, output: 'tmp/dry.raw', dryRun: true });
      assert.deepEqual(readdirSync(at('tmp')), ['real.raw']);
      await execa('rm', [at('tmp/real.raw')]);
      assert.deepEqual(readdirSync(tree.path), before);
    });
  }

  it('is told by a dry run, which needs no place for it', async () => {
    const { stdout } = await shell('$build --quiet --dry-run many.tar');
    assert.match(
      stdout,
      /^dry run, nothing written: a disk: label dpl-\w{11}, images 2, .*(\n {2}\w+:1: 1 layer, sha256:\w{64}){2}$/,
    );
    assert.match(
      (await shell('$build --quiet --dry-run many.tar -o -')).stdout,
      /^dry run, nothing written: standard output: label/,
    );
    // What the real one would refuse for the place or for want of a program, this one refuses.
    assert.match(
      (await shell('$build --quiet --dry-run many.tar -o nowhere/at/all.raw')).stderr,
      /^docker-preloader: nowhere\/at\/all\.raw: nothing can be written in the folder nowhere\/at: no such file or folder$/,
    );
    for (const dry of ['', '--dry-run']) {
      const missing = await shell(`PATH=/nowhere $build ${dry} --compress many.tar -o x.qcow2`);
      assert.equal(
        missing.stderr,
        "docker-preloader: expected the program 'qemu-img', found none: install the package qemu-utils",
      );
    }
    assert.equal((await shell('$build --quiet --dry-run many.tar --engine docker -o x.raw')).exitCode, 2);
    const broken = savedArchive([image]);
    broken.write('b', 1024);
    writeFileSync(at('broken.tar'), broken);
    assert.match(
      (await shell('$build --quiet --dry-run broken.tar')).stderr,
      /expected a layer with digest sha256:\w{64}/,
    );
  });
});
