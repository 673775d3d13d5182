import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { messages } from '../../agent/messages/events.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { scratch } from '../support/temp-tree.ts';
import { quoted, runScript } from './own-process.ts';

describe('the journal', () => {
  const script = `import { log } from ${quoted('journal.ts')};
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

  it('is a plain line on stderr elsewhere', () => {
    assert.equal(runScript(script).stderr, 'a message\\x1b[2J\n');
    assert.equal(runScript(script, { JOURNAL_STREAM: '1:2' }).stderr, 'a message\\x1b[2J\n');
  });

  it('is stderr with a level, if that is the journal but nobody listens', (t) => {
    const folder = scratch(t);
    const levels = `import { log } from ${quoted('journal.ts')}; for (const name of ['FAILED', 'DISK_DIRTY', 'TAG_CONFLICT', 'READY', 'STORE_WRITE']) log(name, name); log('DOCKER_RUNNING', 'more urgent', {}, 'error');`;
    const shell = `mount -t tmpfs tmpfs /run && : >"$2" && export JOURNAL_STREAM=$(stat -c %d:%i "$2") && exec "$0" --input-type=module -e "$1" 2>>"$2"`;
    const stderr = path.join(folder, 'stderr');
    const { status } = spawnSync('unshare', ['--mount', 'sh', '-c', shell, process.execPath, levels, stderr]);
    assert.equal(status, 0);
    assert.equal(
      readFileSync(stderr, 'utf8'),
      '<3>FAILED\n<4>DISK_DIRTY\n<5>TAG_CONFLICT\n<6>READY\n<3>STORE_WRITE\n<3>more urgent\n',
    );
  });
});
