import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Containerd } from '../../../agent/containerd/api/containerd-api.ts';
import {
  withPrivateContainerd,
  type PrivateContainerdOptions,
} from '../../../agent/containerd/private/private-containerd.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { sample, torture } from '../../support/size.ts';
import { PrivateGround, took, versionAt } from './private-ground.ts';

const make = (): Promise<PrivateGround> => PrivateGround.make('28.5');

/**
 * Listens at containerd's socket. Told to end, it does not.
 * @param protocol `net`: it says nothing; `http2`: it answers no call
 */
function listener({ folder }: PrivateGround, protocol: 'net' | 'http2'): string {
  const file = path.join(folder, 'listener.mjs');
  writeFileSync(
    file,
    `import { createServer } from 'node:${protocol}';
import { readFileSync } from 'node:fs';
process.on('SIGTERM', () => {});
createServer(() => {}).listen(JSON.parse(/address = (".*")/.exec(readFileSync(process.argv.at(-1), 'utf8'))[1]));`,
  );
  return `exec ${process.execPath} ${file} "$@"`;
}

interface Fault {
  readonly is: string;
  /** A script in containerd's place. */
  readonly script: (ground: PrivateGround) => string;
  readonly message: RegExp;
  /** Whether only the deadline ends it. */
  readonly hangs: boolean;
}

const faults: readonly Fault[] = [
  { is: 'hangs', script: () => 'exec sleep 1000', message: /did not answer .* within 1\.5 s/, hangs: true },
  {
    is: 'hangs, has a child, and does not end when it is told to',
    script: () => `trap '' TERM INT HUP\necho 'waiting for a device' >&2\nsleep 1000 &\nwhile :; do wait; done`,
    message: /its last words: waiting for a device/,
    hangs: true,
  },
  {
    is: 'listens and says nothing',
    script: (ground) => listener(ground, 'net'),
    message: /did not answer/,
    hangs: true,
  },
  {
    is: 'speaks HTTP/2, and answers no call',
    script: (ground) => listener(ground, 'http2'),
    message: /did not answer/,
    hangs: true,
  },
  {
    is: 'ends at once',
    script: () => `echo 'containerd: it is too late' >&2\nexit 1`,
    message: /found that it ended: it is too late$/,
    hangs: false,
  },
  { is: 'ends without a word', script: () => 'exit 0', message: /found that it ended: none$/, hangs: false },
  { is: 'is killed', script: () => 'kill -9 $$', message: /found that it ended/, hangs: false },
  {
    is: 'is no containerd',
    script: () => 'exec /bin/ls "$@"',
    message: /found that it ended: .*ls --help/,
    hangs: false,
  },
];

describe('a private containerd whose program', () => {
  after(cleanUpAll);
  for (const { is, script, message, hangs } of faults)
    it(`${is} is given up by the deadline`, async () => {
      const ground = await make();
      const failing = ground.private(versionAt, { program: ground.fake(script(ground)), timeoutMs: 1_500 });
      const tookMs = took(failing);
      await assert.rejects(failing, { name: 'PreloaderError', code: 'STORE_WRITE', message });
      assert.ok((await tookMs) < (hangs ? 2_000 : 1_000), `${await tookMs} ms`);
      ground.assertGone();
      await ground.remove();
    });

  it('hangs where it is to read the configuration is given up, too', async () => {
    const ground = await make();
    const configFile = path.join(ground.folder, 'config.toml');
    writeFileSync(configFile, '');
    const failing = ground.private(versionAt, {
      program: ground.fake('exec sleep 1000'),
      timeoutMs: 1_000,
      configFile,
    });
    assert.ok((await took(failing)) < 1_500);
    await assert.rejects(failing, { code: 'STORE_WRITE', message: /did not answer/ });
    ground.assertGone();
    await ground.remove();
  });

  for (const [is, program] of [
    ['is not in PATH', 'containerd-that-nobody-has'],
    ['is not at its path', '/nowhere/containerd'],
    ['is a folder', '/usr/bin'],
    ['may not be executed', '/etc/passwd'],
    ['has no name', ''],
  ] as const)
    it(`${is} is named, and nothing is touched`, async () => {
      const ground = await make();
      await assert.rejects(ground.private(versionAt, { program }), {
        code: 'TOOL_MISSING',
        message: new RegExp(`expected the program '${program}'.*: install containerd, or name its path`),
      });
      assert.equal(existsSync(ground.root), false);
      assert.equal(existsSync(path.join(ground.folder, 'run')), false);
      await ground.remove();
    });
});

describe('the root of a private containerd', () => {
  after(cleanUpAll);

  it('is made where there is none, with what is above it', async () => {
    const ground = await make();
    const root = path.join(ground.folder, 'a/b/c');
    await ground.private(versionAt, { root });
    assert.deepEqual(
      ['a', 'a/b', 'a/b/c'].map((name) => statSync(path.join(ground.folder, name)).mode & 0o777),
      [0o710, 0o710, 0o700],
    );
    await ground.remove();
  });

  it('is one, by whatever path it is named', async () => {
    const ground = await make();
    symlinkSync(ground.root, path.join(ground.folder, 'link'));
    await ground.private(async () => {
      for (const root of [`${ground.root}/`, path.join(ground.folder, 'link'), `${ground.folder}/run/../containerd`])
        await assert.rejects(ground.private(versionAt, { root, timeoutMs: 200 }), { code: 'LOCKED' });
    });
    await ground.private(versionAt, { root: path.join(ground.folder, 'link') });
    ground.assertGone();
    await ground.remove();
  });

  it('may have any name', async () => {
    const ground = await make();
    const names = [
      'with space',
      'tab\tdel\x7Fbell\x07',
      'ünï€😀',
      '-x',
      `"quoted" 'twice' \\ back`,
      '$(x) `y` #z',
      'line\nbreak',
    ];
    for (const name of sample(names, 3)) {
      const root = path.join(ground.folder, name);
      const address = await ground.private(
        async (socket) => {
          const containerd = await Containerd.open(socket, 1_000);
          const plugins = await containerd.plugins().finally(() => containerd.close());
          return plugins.find(({ id }) => id === 'bolt')?.exports.get('path');
        },
        { root },
      );
      assert.equal(address, path.join(root, 'io.containerd.metadata.v1.bolt/meta.db'));
    }
    ground.assertGone();
    await ground.remove();
  });

  for (const [is, root, message] of [
    ['is no absolute path', 'containerd', /expected an absolute path, found "containerd"/],
    ['is empty', '', /expected an absolute path, found ""/],
    ['has a NUL', '/a\0b', /expected an absolute path/],
    ['is a file', '/etc/passwd', /found that it ended: .*not a directory/],
    ['is below a file', '/etc/passwd/containerd/daemon', /expected a folder that can be made: .*no folder/],
    ['cannot be written to', '/proc/containerd', /found that it ended: .*no such file/],
  ] as const)
    it(`is refused where it ${is}`, async () => {
      const ground = await make();
      await assert.rejects(ground.private(versionAt, { root }), { code: 'STORE_WRITE', message });
      ground.assertGone();
      await ground.remove();
    });

  it('may have metadata that are damaged: then they are left as they are', async () => {
    const ground = await make();
    const metadata = path.join(ground.root, 'io.containerd.metadata.v1.bolt/meta.db');
    mkdirSync(path.dirname(metadata), { recursive: true });
    for (const content of ['no database', 'x'.repeat(100_000)]) {
      writeFileSync(metadata, content);
      const failing = ground.private(versionAt, { timeoutMs: 5_000 });
      await assert.rejects(failing, { code: 'STORE_WRITE', message: /metadata\.v1\.bolt.*(invalid|EOF|version)/ });
      assert.equal(readFileSync(metadata, 'utf8'), content);
    }
    ground.assertGone();
    await ground.remove();
  });
});

describe('what is done with a private containerd', () => {
  after(cleanUpAll);

  it('gives its result or its error, and leaves nothing', async () => {
    const ground = await make();
    assert.equal(await ground.private(() => Promise.resolve(7)), 7);
    const error = new Error('mine');
    await assert.rejects(
      ground.private(() => Promise.reject(error)),
      error,
    );
    await assert.rejects(
      ground.private(() => {
        throw error;
      }),
      error,
    );
    ground.assertGone();
    await ground.remove();
  });

  it('ends with it: where it is killed, and where a client does not let go', async () => {
    const ground = await make();
    const killed = ground.private(async (address) => {
      process.kill(Number(ground.holder), 'SIGKILL');
      await delay(200);
      return versionAt(address);
    });
    await assert.rejects(killed, {
      code: 'STORE_WRITE',
      message: /expected that it serves its store, found that it ended/,
    });
    let left: Containerd | undefined;
    const tookMs = await took(
      ground.private(async (address) => {
        left = await Containerd.open(address, 1_000);
      }),
    );
    assert.ok(tookMs < 4_000, `${tookMs} ms`);
    left?.close();
    ground.assertGone();
    await ground.remove();
  });

  it('sees what is mounted meanwhile, in mounts of its own, and has nothing of its agent', async () => {
    const ground = await make();
    const shared = path.join(ground.folder, 'shared');
    const later = path.join(shared, 'later');
    mkdirSync(shared);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', shared]);
    execFileSync('mount', ['--make-shared', shared]);
    process.env['NOTIFY_SOCKET'] = '/nowhere';
    try {
      await ground.private(async () => {
        const proc = `/proc/${ground.holder ?? ''}`;
        const mountOf = (folder: string): string | undefined =>
          readFileSync(`${proc}/mountinfo`, 'utf8')
            .split('\n')
            .find((line) => line.split(' ')[4] === folder);
        assert.doesNotMatch(readFileSync(`${proc}/environ`, 'utf8'), /NOTIFY/);
        assert.match(mountOf(shared) ?? '', / master:\d+ /);
        mkdirSync(later);
        execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', later]);
        assert.match(mountOf(later) ?? '', / master:\d+ /);
        execFileSync('umount', [later]);
        assert.equal(mountOf(later), undefined);
      });
    } finally {
      delete process.env['NOTIFY_SOCKET'];
      execFileSync('umount', [shared]);
    }
    ground.assertGone();
    await ground.remove();
  });
});

describe('the options of a private containerd', () => {
  after(cleanUpAll);

  for (const timeoutMs of [0, -1, Number.NaN, Infinity, 2 ** 31])
    it(`are refused with ${timeoutMs} ms`, async () => {
      await assert.rejects(withPrivateContainerd({ root: '/x', timeoutMs }, versionAt), RangeError);
    });

  it('are refused with a folder that is no place for a socket', async () => {
    const ground = await make();
    for (const [runRoot, message] of [
      [path.join(ground.folder, 'x'.repeat(100)), /expected at most 101 bytes/],
      ['/etc/passwd', /expected a folder for containerd's socket/],
    ] as const)
      await assert.rejects(ground.private(versionAt, { runRoot }), { code: 'STORE_WRITE', message });
    const run: Partial<PrivateContainerdOptions> = { runRoot: path.join(ground.folder, `a "b" c`) };
    assert.match(await ground.private(versionAt, run), /^2/);
    await ground.remove();
  });

  it('have no time to spare, or none at all, and nothing is left', async () => {
    const ground = await make();
    for (const timeoutMs of torture ? Array.from({ length: 100 }, (_, at) => 1 + at) : [1, 5, 20, 50, 100]) {
      await assert.rejects(
        ground.private(() => delay(1_000), { timeoutMs }),
        { name: 'PreloaderError' },
      );
      ground.assertGone();
    }
    await ground.remove();
  });
});
