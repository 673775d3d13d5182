import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { codes } from '../../agent/messages/codes.ts';
import { monotonicUsec } from '../../agent/system/clock.ts';
import { sendDatagram } from '../../agent/system/datagram.ts';
import { PreloaderError } from '../../agent/system/errors.ts';
import { messages } from '../../agent/messages/events.ts';
import { systemCall } from '../../agent/system/libc.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { scratch } from '../support/scratch.ts';

const agent = path.resolve(import.meta.dirname, '../../agent/system');

/** Runs a script as a process of its own, for what depends on its environment and number. */
function run(
  script: string,
  env: Readonly<Record<string, string>> = {},
): { readonly stderr: string; readonly stdout: string } {
  const { JOURNAL_STREAM: _, NOTIFY_SOCKET: __, LISTEN_FDS: ___, ...rest } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...rest, ...env },
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return { stdout, stderr };
}

describe('the service manager', () => {
  it('is told by datagrams of our own', async (t) => {
    const socket = await notifySocket(path.join(scratch(t), 'notify'));
    const before = process.env['NOTIFY_SOCKET'];
    t.after(async () => {
      if (before === undefined) delete process.env['NOTIFY_SOCKET'];
      else process.env['NOTIFY_SOCKET'] = before;
      await cleanUpAll();
    });
    const { notify, notifyStatus } = await import('../../agent/system/notify.ts');
    process.env['NOTIFY_SOCKET'] = socket.path;
    notify('READY=1', 'STATUS=all is well');
    await socket.waitFor('READY=1\nSTATUS=all is well');
    notifyStatus('two\nlines');
    await socket.waitFor('STATUS=two lines');
    // Nobody listens, or nobody asked: no failure of ours.
    for (const nowhere of ['/nonexistent/socket', '', 'x'.repeat(200)]) {
      process.env['NOTIFY_SOCKET'] = nowhere;
      notify('READY=1');
    }
    delete process.env['NOTIFY_SOCKET'];
    notify('READY=1');
  });

  it('passes a socket to this process only', () => {
    const script = `import { listenFd } from ${JSON.stringify(`${agent}/listen-fds.ts`)};
      const seen = [];
      for (const [pid, fds] of [[process.pid, 1], [process.pid, 2], [process.pid, 0], [process.pid, 'x'], [process.pid + 1, 1], ['', 1]]) {
        process.env.LISTEN_PID = String(pid); process.env.LISTEN_FDS = String(fds); seen.push(listenFd() ?? null);
      }
      delete process.env.LISTEN_PID; delete process.env.LISTEN_FDS; seen.push(listenFd() ?? null);
      console.log(JSON.stringify(seen));`;
    assert.deepEqual(JSON.parse(run(script).stdout), [3, 3, null, null, null, null, null]);
  });
});

describe('a datagram', () => {
  it('goes nowhere without a reason', (t) => {
    assert.throws(() => sendDatagram(path.join(scratch(t), 'none'), Buffer.from('x')), {
      code: 'ENOENT',
      syscall: 'sendto',
    });
    assert.throws(() => sendDatagram('@dpl-unit-nobody-listens', Buffer.from('x')), { code: 'ECONNREFUSED' });
    assert.throws(() => sendDatagram('/'.padEnd(108, 'x'), Buffer.from('x')), {
      name: 'RangeError',
      message: 'expected a socket path of at most 108 bytes, found 109',
    });
  });
});

describe('the journal', () => {
  const script = `import { log } from ${JSON.stringify(`${agent}/journal.ts`)};
    log('DISK_DIRTY', 'a message\\u001b[2J', { LABEL: undefined, COUNT: 7, IMAGE: 'two\\nlines' });`;

  before(async () => ensureDebianPackages(['socat'], { install: true }));

  it('gets an entry with fields in its native form', (t) => {
    const folder = scratch(t);
    writeFileSync(path.join(folder, 'send.mjs'), script);
    // journald's socket has one name only: the test has a /run of its own.
    const shell = `set -e
      mount -t tmpfs tmpfs /run
      mkdir -p /run/systemd/journal
      socat -u UNIX-RECV:/run/systemd/journal/socket CREATE:"$1/entry" &
      trap "kill $!" EXIT
      until [ -S /run/systemd/journal/socket ]; do sleep 0.01; done
      : >"$1/stderr"
      JOURNAL_STREAM=$(stat -c %d:%i "$1/stderr") "$2" "$1/send.mjs" 2>>"$1/stderr"
      for _ in $(seq 500); do [ ! -s "$1/entry" ] || break; sleep 0.01; done`;
    execFileSync('unshare', ['--mount', 'sh', '-c', shell, 'sh', folder, process.execPath], { timeout: 20_000 });
    const entry = readFileSync(path.join(folder, 'entry'));
    const length = Buffer.from([9, 0, 0, 0, 0, 0, 0, 0]);
    const expected = Buffer.concat([
      Buffer.from(
        `MESSAGE=a message\\x1b[2J\nMESSAGE_ID=${messages.DISK_DIRTY.id}\nPRIORITY=4\nSYSLOG_IDENTIFIER=docker-preloader\nCODE_FILE=agent/boot/discover.ts\nPRELOADER_CODE=DISK_DIRTY\nPRELOADER_COUNT=7\nPRELOADER_IMAGE\n`,
      ),
      length,
      Buffer.from('two\nlines\n'),
    ]);
    // The unit is there only where the tests run in one.
    assert.equal(entry.toString('latin1').replace(/^OBJECT_SYSTEMD_UNIT=.*\n/m, ''), expected.toString('latin1'));
    assert.equal(readFileSync(path.join(folder, 'stderr'), 'utf8'), '');
  });

  it('is stderr with a level elsewhere', () => {
    assert.equal(run(script).stderr, '<4>a message\\x1b[2J\n');
    const levels = `import { log } from ${JSON.stringify(`${agent}/journal.ts`)}; for (const name of ['FAILED', 'DISK_DIRTY', 'TAG_CONFLICT', 'READY', 'STORE_WRITE']) log(name, name); log('DOCKER_RUNNING', 'more urgent', {}, 'error');`;
    assert.equal(
      run(levels).stderr,
      '<3>FAILED\n<4>DISK_DIRTY\n<5>TAG_CONFLICT\n<6>READY\n<3>STORE_WRITE\n<3>more urgent\n',
    );
  });

  it('is stderr, too, where no journald listens', () => {
    const shell = 'mount -t tmpfs tmpfs /run && JOURNAL_STREAM=1:2 exec "$0" --input-type=module -e "$1"';
    const { stderr, status } = spawnSync('unshare', ['--mount', 'sh', '-c', shell, process.execPath, script], {
      encoding: 'utf8',
    });
    assert.equal(status, 0);
    assert.equal(stderr, '<4>a message\\x1b[2J\n');
  });
});

describe('a system call', () => {
  it('that fails is an error as node:fs has them', () => {
    assert.throws(() => systemCall('close', 987_654), {
      code: 'EBADF',
      syscall: 'close',
      message: 'EBADF: close failed',
    });
    assert.throws(() => systemCall('umount2', Buffer.from('/nonexistent\0'), 0), {
      code: 'ENOENT',
      syscall: 'umount2',
    });
  });

  it('reads the clock of systemd', () => {
    const uptimeUsec = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1e6;
    const first = monotonicUsec();
    assert.ok(Math.abs(first - uptimeUsec) < 60e6);
    assert.ok(monotonicUsec() >= first);
    assert.ok(Number.isInteger(first));
  });
});

describe('the codes', () => {
  it('each say what they mean and what they make of the result', () => {
    for (const [code, { effect, meaning }] of Object.entries(codes)) {
      assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
      assert.match(effect, /^(none|degraded|failed)$/);
      assert.ok(meaning.length > 10);
    }
    const error = new PreloaderError('LOCKED', 'why', { cause: 7 });
    assert.deepEqual([error.code, error.message, error.name, error.cause], ['LOCKED', 'why', 'PreloaderError', 7]);
  });
});
