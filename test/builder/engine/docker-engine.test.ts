import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { built } from '../../../agent/packaging/build-program.ts';
import { torture } from '../../support/size.ts';
import { agent, agentCommand, withoutRoot } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { dockerdTree } from '../../support/dockerd-version.ts';
import { guestRoot } from '../../support/guest-root.ts';
import { mountsBelow, tempTree, type TempTree } from '../../support/temp-tree.ts';
import { savedArchive } from '../archive/archives.ts';
import { makeTar } from '../tar/make-tar.ts';
import { oddImages } from '../layer/odd-layers.ts';
import { treeFacts, withoutUnsetTimes } from '../tree-facts.ts';

const MANY_LAYERS = 120;

const dist = path.resolve(import.meta.dirname, '../../../dist');

describe('build --engine docker, the reference', () => {
  let tree: TempTree;
  let archive = '';
  let env: Readonly<Record<string, string>> = {};

  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'python3', 'qemu-utils'], { install: true });
    tree = await tempTree('dpl-engine');
    const { bin, cliConfig } = await dockerdTree('28.5');
    env = { PATH: `${bin}:${process.env['PATH'] ?? ''}`, DOCKER_CONFIG: cliConfig };
    archive = path.join(tree.path, 'saved.tar');
    const many = Array.from({ length: MANY_LAYERS }, (_, index) =>
      makeTar([{ name: `layer-${index}`, content: `${index}\n` }]),
    );
    writeFileSync(
      archive,
      savedArchive([
        ...(await oddImages()),
        { tags: ['many:1'], layers: many },
        { tags: ['sparse:1'], layers: [await sparseLayer()] },
      ]),
    );
  });
  after(cleanUpAll);

  async function build(output: string, ...args: readonly string[]): Promise<void> {
    const { exitCode, all } = await agent(['build', archive, '-o', output, '--format', 'raw', ...args], env);
    assert.equal(exitCode, 0, all);
  }

  /** A file with holes in tar's PAX form; dockerd itself refuses GNU's older one: "unhandled tar header type 83". */
  async function sparseLayer(): Promise<Buffer> {
    const folder = path.join(tree.path, 'sparse');
    mkdirSync(folder);
    await execa('sh', [
      '-c',
      'truncate --size 3M "$1" && printf data | dd of="$1" bs=1M seek=1 conv=notrunc status=none',
      'sh',
      path.join(folder, 'holes'),
    ]);
    const { stdout } = await execa(
      'tar',
      [
        '--create',
        '--sparse',
        '--format=pax',
        '--owner=0',
        '--group=0',
        '--mtime=@1500000000',
        '--directory',
        folder,
        'holes',
      ],
      { encoding: 'buffer' },
    );
    return Buffer.from(stdout);
  }

  async function mounted(disk: string): Promise<string> {
    const folder = `${disk}-mounted`;
    mkdirSync(folder);
    await execa('mount', ['-o', 'loop,ro', disk, folder]);
    return folder;
  }

  it('makes a disk with the same trees and the same metadata as the built-in engine', async () => {
    const theirs = path.join(tree.path, 'docker.ext4');
    await build(theirs, '--engine', 'docker');
    await assertLikeBuiltIn(theirs);
  });

  it(
    'does so in a virtual machine, without root',
    { skip: torture ? false : 'emulated, it takes a minute: npm run test:torture' },
    async () => {
      await ensureDebianPackages(['qemu-system-x86', 'util-linux'], { install: true });
      const root = await guestRoot('trixie');
      // The cache may be in a folder that is for root alone.
      const folder = path.join(tree.path, 'unprivileged');
      mkdirSync(folder);
      for (const [file, name] of [
        [root.kernel, 'kernel'],
        [root.initrd, 'initrd'],
        [root.disk, 'root.ext4'],
        [archive, 'saved.tar'],
        [path.join(dist, built.small), built.small],
        [path.join(dist, built.whole), built.whole],
      ] as const) {
        mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
        await execa('cp', ['--sparse=always', file, path.join(folder, name)]);
      }
      await execa('chown', ['-R', '65534:65534', folder]);
      chmodSync(tree.path, 0o755);
      const theirs = path.join(folder, 'docker.ext4');
      await execa(
        'setpriv',
        [
          '--reuid',
          '65534',
          '--regid',
          '65534',
          '--clear-groups',
          path.join(folder, built.small),
          'build',
          path.join(folder, 'saved.tar'),
          '-o',
          theirs,
          '--format',
          'raw',
          '--engine',
          'docker-vm',
          '--vm',
          folder,
        ],
        { timeout: 900_000, env: { TMPDIR: folder } },
      );
      await assertLikeBuiltIn(theirs);
    },
  );

  async function assertLikeBuiltIn(theirs: string): Promise<void> {
    const ours = `${theirs}-built-in`;
    await build(ours);
    const roots = [await mounted(ours), await mounted(theirs)] as const;
    const both = <Value>(read: (root: string) => Value): readonly [Value, Value] => [read(roots[0]), read(roots[1])];
    const layerdb = 'image/overlay2/layerdb/sha256';

    const [chains, theirChains] = both((root) => readdirSync(path.join(root, layerdb)).sort());
    assert.deepEqual(chains, theirChains);
    assert.ok(chains.length >= MANY_LAYERS + 8, String(chains.length));
    for (const chain of chains) {
      const record = (root: string, name: string): string => {
        const file = path.join(root, layerdb, chain, name);
        return existsSync(file) ? readFileSync(file, 'utf8') : 'none';
      };
      for (const name of ['diff', 'size', 'parent'])
        assert.equal(...both((root) => record(root, name)), `${chain}/${name}`);
      const facts = (root: string): ReturnType<typeof treeFacts> =>
        treeFacts(path.join(root, 'overlay2', record(root, 'cache-id'), 'diff'));
      const [mine, other] = await Promise.all(both(facts));
      assert.deepEqual(withoutUnsetTimes(mine), withoutUnsetTimes(other), chain);
    }
    assert.deepEqual(...both((root) => readdirSync(path.join(root, 'image/overlay2/imagedb/content/sha256')).sort()));
    assert.deepEqual(
      ...both(
        (root) => JSON.parse(readFileSync(path.join(root, 'image/overlay2/repositories.json'), 'utf8')) as unknown,
      ),
    );
  }

  it('says what it lacks: dockerd, root, an archive that docker takes', async () => {
    const output = path.join(tree.path, 'none.ext4');
    const [command, ...before] = agentCommand();
    const run = async (
      prefix: readonly string[],
      environment: Readonly<Record<string, string>>,
      file = archive,
    ): Promise<string> => {
      const [program, ...args] = [
        ...prefix,
        command,
        ...before,
        'build',
        file,
        '-o',
        output,
        '--engine',
        'docker',
        '--quiet',
      ];
      const { exitCode, stderr } = await execa(program ?? '', args, { reject: false, env: environment });
      assert.equal(exitCode, 1, stderr);
      assert.equal(stderr.split('\n').length, 1, stderr);
      return stderr;
    };
    const empty = path.join(tree.path, 'empty-path');
    mkdirSync(empty);
    assert.match(
      await run([], { PATH: empty }),
      /expected the program 'dockerd', found none: install the package docker\.io/,
    );
    assert.match(await run(withoutRoot, env), /--engine docker: expected root/);
    const broken = path.join(tree.path, 'broken.tar');
    writeFileSync(broken, 'no archive');
    assert.match(await run([], env, broken), /^docker-preloader: docker --host: /);
    const vm = await agent(['build', archive, '-o', output, '--engine', 'docker-vm', '--vm', empty]);
    assert.equal(vm.exitCode, 1, vm.all);
    assert.match(vm.stderr, /expected the files kernel, initrd, root\.ext4, found no kernel/);
    for (const args of [
      ['--engine', 'docker-vm'],
      ['--vm', empty],
      ['--engine', 'docker', '--priority', '1'],
      ['--engine', 'podman'],
    ]) {
      const wrong = await agent(['build', archive, '-o', output, ...args]);
      assert.equal(wrong.exitCode, 2, wrong.all);
    }
    assertNothingLeft();
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const [command, ...before] = agentCommand();
    const child = spawn(
      command,
      [...before, 'build', archive, '-o', path.join(tree.path, 'interrupted.ext4'), '--engine', 'docker'],
      {
        env: { ...process.env, ...env, TMPDIR: tree.path },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    child.stderr.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('loading')) child.kill('SIGTERM');
    });
    assert.deepEqual(await once(child, 'close'), [null, 'SIGTERM']);
    assertNothingLeft();
  });

  it('makes the disk all the same where nobody reads its progress', async () => {
    const [command, ...before] = agentCommand();
    const words = [
      command,
      ...before,
      'build',
      archive,
      '-o',
      path.join(tree.path, 'unread.ext4'),
      '--engine',
      'docker',
    ];
    const line = '{ "$@"; echo $? >&3; } 3>status 2>&1 | head -1';
    const { stdout } = await execa('sh', ['-c', line, 'sh', ...words], {
      cwd: tree.path,
      env: { ...env, TMPDIR: tree.path },
    });
    assert.equal(stdout, 'starting dockerd');
    assert.equal(readFileSync(path.join(tree.path, 'status'), 'utf8'), '0\n');
    assertNothingLeft();
  });

  for (const step of ['starting dockerd', 'loading', 'writing the filesystem'])
    it(`takes its dockerd and its mounts with it when it is killed while '${step}'`, async () => {
      const [command, ...before] = agentCommand();
      const output = path.join(tree.path, 'killed.ext4');
      const child = spawn(command, [...before, 'build', archive, '-o', output, '--engine', 'docker'], {
        env: { ...process.env, ...env, TMPDIR: tree.path },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child.stderr.on('data', (chunk: Buffer) => {
        // A moment later, for what the step has started.
        if (chunk.toString().includes(step)) setTimeout(() => child.kill('SIGKILL'), 200);
      });
      assert.deepEqual(await once(child, 'close'), [null, 'SIGKILL']);
      // The kernel ends one after the other.
      for (let count = 0; count < 100 && programsBelow(tree.path).length > 0; count += 1) await delay(50);
      assert.deepEqual(programsBelow(tree.path), []);
      assert.deepEqual(
        mountsBelow(tree.path).filter((mount) => !mount.endsWith('-mounted')),
        [],
      );
      await execa('sh', ['-c', 'rm -rf .killed.* docker-preloader-*'], { cwd: tree.path });
    });

  function assertNothingLeft(): void {
    const left = readdirSync(tree.path).filter((name) => /^\.|none|interrupted|docker-preloader-/.test(name));
    assert.deepEqual(left, []);
    assert.deepEqual(
      mountsBelow(tree.path).filter((mount) => !mount.endsWith('-mounted')),
      [],
    );
  }
});

/** The command lines of all programs that work below a folder. */
function programsBelow(folder: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return line.includes(folder) ? [line] : [];
      } catch {
        return [];
      }
    });
}
