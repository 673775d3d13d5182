import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { createProgram } from '../../agent/commands/program.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { type TempTree, tempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');
interface Ran {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

const ofTheBuildMachine = ['build', 'pull', 'export', 'inspect', 'diff', 'attach'];

describe('npm pack', () => {
  let folder: TempTree;
  let tarball = '';

  /** npm, with a cache of its own and without a network. */
  async function npm(args: readonly string[], cwd: string): Promise<Ran> {
    const options = ['--offline', '--no-audit', '--no-fund', '--no-update-notifier'];
    const { exitCode, stdout, stderr } = await execa('npm', [...args.slice(0, 1), ...options, ...args.slice(1)], {
      cwd,
      reject: false,
      stdin: 'ignore',
      env: { npm_config_cache: path.join(folder.path, 'cache') },
    });
    return { exitCode, stdout, stderr };
  }

  /** `npx docker-preloader ARGS`, where npm installs the package for it. */
  const npx = (args: readonly string[], cwd: string): Promise<Ran> =>
    npm(['exec', '--yes', `--package=${tarball}`, '--', 'docker-preloader', ...args], cwd);

  before(async () => {
    folder = await tempTree();
    const { stdout, stderr, exitCode } = await npm(['pack', '--pack-destination', folder.path], root);
    assert.equal(exitCode, 0, stderr);
    tarball = path.join(folder.path, stdout.split('\n').at(-1) ?? '');
  });
  after(() => folder.remove());

  it('has the module for the build machine, what npm wants, and nothing that it depends on', async () => {
    const { stdout } = await execa('tar', ['-tzf', tarball]);
    assert.deepEqual(stdout.split('\n').toSorted(), [
      'package/LICENSE',
      'package/README.md',
      'package/dist/docker-preloader.mjs',
      'package/package.json',
    ]);
    const { stdout: text } = await execa('tar', ['-xzOf', tarball, 'package/package.json']);
    const described = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual(
      ['private', 'dependencies', 'engines', 'bin'].map((key) => described[key]),
      [undefined, undefined, { node: '>=24' }, { 'docker-preloader': 'dist/docker-preloader.mjs' }],
    );
  });

  it('makes a disk in an empty folder, by npx, and looks into it', async () => {
    const empty = path.join(folder.path, 'empty');
    mkdirSync(empty);
    const archive = path.join(folder.path, 'app.tar');
    writeFileSync(
      archive,
      await dockerArchive([{ tags: ['app:1'], layers: [[{ name: 'hello', content: 'hello\n' }]] }]),
    );
    const made = await npx(['build', archive, '-o', 'images.raw', '--quiet'], empty);
    assert.equal(made.exitCode, 0, made.stderr);
    assert.ok(existsSync(path.join(empty, 'images.raw')));
    const shown = await npx(['inspect', '--deep', 'images.raw'], empty);
    assert.equal(shown.exitCode, 0, shown.stderr);
    assert.match(shown.stdout, /app:1/);
  });

  it('refuses the commands of the guest in one line', async () => {
    const words = createProgram(() => undefined)
      .commands.map((command) => command.name())
      .filter((name) => !ofTheBuildMachine.includes(name));
    assert.ok(words.includes('run') && words.includes('boot-order'), words.join(' '));
    await execa('tar', ['-xzf', tarball, '-C', folder.path]);
    for (const word of words) {
      const { exitCode, stdout, stderr } = await execa(
        process.execPath,
        [path.join(folder.path, 'package/dist/docker-preloader.mjs'), word],
        { reject: false },
      );
      assert.deepEqual(
        [exitCode, stdout, stderr],
        [
          2,
          '',
          `docker-preloader: expected a command of the build machine, found '${word}', which is for guests: install the .deb or the tarball there; docker-preloader --help tells more`,
        ],
      );
    }
  });

  it('is told of in the README of the package, command by command', () => {
    const readme = readFileSync(path.join(root, 'agent/packaging/README.md'), 'utf8');
    const line = readme.split('\n').find((text) => text.includes('npx docker-preloader')) ?? '';
    for (const name of ofTheBuildMachine) assert.ok(line.includes(`\`${name}\``), `${name} in: ${line}`);
  });
});
