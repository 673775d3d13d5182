import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { BootDocument } from '../../agent/boot-order/boot-document.ts';
import { createProgram } from '../../agent/commands/program.ts';
import { VERSION } from '../../agent/version.ts';
import { aDocument } from '../boot-order/a-document.ts';
import { scratch } from '../support/temp-tree.ts';

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const command = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  path.resolve(import.meta.dirname, '../../agent/main.ts'),
] as const;
const { JOURNAL_STREAM: _, NOTIFY_SOCKET: __, ...env } = process.env;

/** Runs the command line as a process of its own: exit status and streams are what it promises. */
function run(...args: readonly string[]): Promise<Result> {
  return resultOf([...command, ...args]);
}

/** The same where nothing is in /run: no daemon answers there. */
function runAlone(...args: readonly string[]): Promise<Result> {
  return resultOf([
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    'mount -t tmpfs tmpfs /run && exec "$@"',
    'sh',
    ...command,
    ...args,
  ]);
}

function resultOf([program, ...args]: readonly [string, ...string[]]): Promise<Result> {
  return new Promise((resolve) => {
    execFile(program, args, { env }, (error, stdout, stderr) =>
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

const oneLine = /^docker-preloader: [^\n]+\n$/;

describe('the command line', { concurrency: 2 }, () => {
  it("tells its version and the format's", async () => {
    assert.deepEqual(await run('--version'), {
      status: 0,
      stdout: `docker-preloader ${VERSION} (disk format 1.1)\n`,
      stderr: '',
    });
  });

  it('tells its commands, each with an example and the exit statuses', async () => {
    const { status, stdout } = await run('--help');
    assert.equal(status, 0);
    for (const one of createProgram(() => undefined).commands) {
      assert.match(stdout, new RegExp(`^ {2}${one.name()} `, 'm'));
      const help: string[] = [];
      one.configureOutput({ writeOut: (text) => help.push(text) });
      one.outputHelp();
      assert.match(
        help.join(''),
        one.name() === 'diff'
          ? /Examples:\n {2}docker-preloader .*\n\nExit status: 0 the same, 1 different, 2 trouble\n$/s
          : /Examples:\n {2}(docker-preloader|docker save|systemctl) .*\n\nExit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but degraded/s,
      );
      assert.equal(
        /--config <file>/.test(help.join('')),
        !['build', 'pull', 'export', 'inspect', 'diff', 'attach'].includes(one.name()),
      );
    }
  });

  for (const { args, says } of [
    { args: ['frobnicate'], says: /unknown command 'frobnicate'; docker-preloader --help tells more$/m },
    { args: ['--frobnicate'], says: /unknown option '--frobnicate'; docker-preloader --help tells more$/m },
    {
      args: ['apply', '--frobnicate'],
      says: /unknown option '--frobnicate'; docker-preloader apply --help tells more$/m,
    },
    {
      args: ['apply', 'too', 'much'],
      says: /too many arguments .*: too, much; docker-preloader apply --help tells more$/m,
    },
    { args: ['apply', '--config'], says: /argument missing; docker-preloader apply --help tells more$/m },
    { args: ['boot-order', 'a', 'b'], says: /too many arguments .*; docker-preloader boot-order --help tells more$/m },
    { args: ['inspect'], says: /missing required argument 'disk'; docker-preloader inspect --help tells more$/m },
    {
      args: ['build', 'x', '-o', 'y', '--format', 'z'],
      says: /Allowed choices are qcow2, raw, containerdisk, vmdk, vdi, vhdx; docker-preloader build --help tells more$/m,
    },
    { args: [], says: /^docker-preloader: expected a command, found none$/m },
    { args: ['help', 'no\u001bpe'], says: /^docker-preloader: unknown command 'no\\x1bpe'$/m },
    { args: ['build', 'x', '-o', '--quiet'], says: /--output: expected a value, found the option '--quiet'/ },
    { args: ['build', 'x', '-o', 'y', '--read-ahead', '--quiet'], says: /--read-ahead: expected a value, found/ },
    { args: ['build', 'x', '-o', 'y', '--base', '-o'], says: /--base: expected a value, found the option '-o'/ },
    { args: ['apply', '--config', '--degraded-ok'], says: /--config: expected a value, found the option/ },
    { args: ['build', 'x', '-o', 'y', '--config', 'z'], says: /unknown option '--config'/ },
    { args: ['build', 'x', '-o', 'y', '--size', '0'], says: /--size: expected a number of bytes/ },
    // What build itself refuses.
    { args: ['build', 'x'], says: /-o, --output DISK: .* found none; docker-preloader build --help tells more$/m },
  ]) {
    it(`'${args.join(' ')}' is a wrong usage, in one line`, async () => {
      const { status, stdout, stderr } = await run(...args);
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr.replace(/^\nUsage: .*/ms, ''), oneLine);
      assert.match(stderr, says);
    });
  }

  for (const name of ['run', 'apply', 'plan', 'unlink', 'status']) {
    it(`'${name}' refuses a configuration with exit status 2, naming the key in one line`, async (t) => {
      const file = path.join(scratch(t), 'config.json');
      writeFileSync(file, '{"label":[]}');
      const { status, stdout, stderr } = await runAlone(name, '--config', file);
      assert.deepEqual([status, stdout], [2, '']);
      assert.match(stderr, oneLine);
      assert.match(stderr, /config\.json: unknown key `label`/);
    });
  }

  it("'status' without a daemon fails and says where to look", async (t) => {
    const folder = scratch(t);
    writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ statusSocket: path.join(folder, 's.sock') }));
    const { status, stderr } = await run('status', '--config', path.join(folder, 'config.json'));
    assert.equal(status, 1);
    assert.match(stderr, oneLine);
    assert.match(
      stderr,
      /no daemon answers on .*s\.sock: there is no such socket; start it: systemctl start docker-preloader; look at: systemctl status docker-preloader/,
    );
  });

  it("'boot-order --check' has an exit status of its own where it could not look", async (t) => {
    const file = path.join(scratch(t), 'boot.json');
    const check = async (document: BootDocument): Promise<Result> => {
      writeFileSync(file, JSON.stringify(document));
      return run('boot-order', '--check', file);
    };
    const unchecked = ['docker: not installed'];
    const faulty = aDocument({ boot: null });
    assert.deepEqual(await check(aDocument({ notes: ['docker inspect: a container that is gone'] })), {
      status: 0,
      stdout: '',
      stderr: '',
    });
    assert.deepEqual(await check(aDocument({ unchecked })), {
      status: 2,
      stdout: '',
      stderr: 'docker-preloader: not looked at: docker: not installed\n',
    });
    const both = await check({ ...faulty, unchecked });
    assert.deepEqual([both.status, both.stderr], [1, 'docker-preloader: not looked at: docker: not installed\n']);
    assert.match(both.stdout, /^STARTED_EARLY: [^\n]+\n$/);
    assert.equal((await check(faulty)).status, 1);
    writeFileSync(file, '{}');
    for (const [options, status] of [
      [['--check'], 2],
      [[], 1],
    ] as const) {
      const result = await run('boot-order', ...options, file);
      assert.deepEqual([result.status, result.stdout], [status, '']);
      assert.match(result.stderr, oneLine);
      assert.match(result.stderr, /boot\.json: expected what `docker-preloader boot-order --json` prints/);
    }
  });

  it("'apply' on a store that is another's is degraded, with exit status 3, or 0 where Docker is to start all the same", async (t) => {
    const folder = scratch(t);
    const file = (name: string, content: unknown): string => {
      writeFileSync(path.join(folder, name), JSON.stringify(content));
      return path.join(folder, name);
    };
    const dockerConfig = file('daemon.json', { 'data-root': path.join(folder, 'docker'), 'storage-driver': 'vfs' });
    const config = file('config.json', {
      labels: [],
      dockerConfig,
      mountRoot: path.join(folder, 'disks'),
      statusSocket: path.join(folder, 'run/s.sock'),
    });
    const { status, stdout, stderr } = await run('apply', '--config', config);
    assert.equal(status, 3, stderr);
    assert.match(
      stdout,
      /^degraded: .*docker is left alone: expected the storage driver 'overlay2', found 'vfs'; 0 disks/,
    );
    assert.equal((await run('apply', '--degraded-ok', '--config', config)).status, 0);
  });

  it('an output without room is told in a line', async (t) => {
    const config = path.join(scratch(t), 'config.json');
    writeFileSync(
      config,
      JSON.stringify({
        labels: [],
        dataRoot: path.join(path.dirname(config), 'docker'),
        mountRoot: path.join(path.dirname(config), 'disks'),
        statusSocket: path.join(path.dirname(config), 'run/s.sock'),
      }),
    );
    for (const args of [['apply', '--config', config], ['status', '--config', config], ['--version']]) {
      const full = openSync('/dev/full', 'w');
      t.after(() => closeSync(full));
      const [program, ...before] = command;
      const { status, stderr } = spawnSync(program, [...before, ...args], {
        env,
        stdio: ['ignore', full, 'pipe'],
        encoding: 'utf8',
      });
      assert.equal(status, 1, args.join(' '));
      assert.match(
        stderr,
        /^(no[^\n]*\n)?docker-preloader: standard output could not be written: no space left\n$/,
        args.join(' '),
      );
    }
  });

  it("'apply' and 'unlink' without any disk do nothing, and say so", async (t) => {
    const folder = scratch(t);
    const config = path.join(folder, 'config.json');
    writeFileSync(
      config,
      JSON.stringify({
        labels: [],
        dataRoot: path.join(folder, 'docker'),
        dockerConfig: path.join(folder, 'none.json'),
        mountRoot: path.join(folder, 'disks'),
        statusSocket: path.join(folder, 'run/s.sock'),
      }),
    );
    const applied = await run('apply', '--config', config);
    assert.equal(applied.status, 0, applied.stderr);
    assert.match(
      applied.stdout,
      /^no preload disk found: `labels` is empty; [^\n]*\nempty: 0 disks, 0 images, 0 layers, nothing to change, \d+ ms\n$/,
    );
    assert.deepEqual(await run('unlink', '--config', config), { status: 0, stdout: 'nothing to remove\n', stderr: '' });
  });
});
