import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { statusDocument } from '../../agent/status/status-document.ts';
import { eventsOf, findingEvent, type JournalEvent } from '../../agent/status/journal-entries.ts';
import type { BlockDevice } from '../../agent/system/block-devices.ts';
import { codes, type Code } from '../../agent/messages/codes.ts';
import { events, messages, priorityOf, type EventName } from '../../agent/messages/events.ts';
import { loadImages } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { attach, blockDeviceOf } from '../support/loop-device.ts';
import { type TempTree, tempTree } from '../support/temp-tree.ts';
import { app, aRun, finding, later } from '../status/a-run.ts';
import { reach, type Ground } from './reach-codes.ts';

const root = path.resolve(import.meta.dirname, '../..');
const catalog = path.join(root, 'units/docker-preloader.catalog');
const names = Object.keys(messages) as EventName[];

/** Logged by calls after READY, which send-entries.ts makes. */
const afterReady: readonly EventName[] = [
  'STATUS_NOT_WRITTEN',
  'NOT_SYNCED',
  'NOT_COMPARED',
  'READ_AHEAD',
  'NOT_READ_AHEAD',
  'NOT_FOLLOWED',
  'RESTORED',
  'NOT_RESTORED',
  'PRUNES_NOT_FOLLOWED',
];

/** Statuses that tell of each event once, or more. */
function eventsOfRuns(t: Parameters<typeof aRun>[0]): JournalEvent[] {
  const run = aRun(t);
  const status = statusDocument(run, later(run, 1));
  const empty = aRun(t, { disks: [], candidates: [] });
  const pending = aRun(t, { applied: false });
  const shared = aRun(t, {}, { disks: { 'dpl-a': [app], 'dpl-b': [app] } });
  const adopted = { ...status, disks: status.disks.map((disk) => ({ ...disk, adopted: true })) };
  return [
    ...eventsOf(status),
    ...eventsOf(adopted),
    ...eventsOf(statusDocument(empty, 1), status),
    ...eventsOf(statusDocument(pending, 1)),
    ...eventsOf(statusDocument(shared, 1)),
    ...(['DISK_DIRTY', 'LOCKED'] as const).flatMap((code) =>
      eventsOf(statusDocument({ ...run, findings: [finding(code)] }, 1)),
    ),
  ];
}

describe('each event', () => {
  let tree: TempTree;
  let disk: Pick<Ground, 'label' | 'diskFile' | 'device'>;
  const reached = new Map<Code, JournalEvent>();
  const label = `j${process.pid.toString(36)}`;

  const attached = async (file: string, after: Ground['after'] = () => undefined): Promise<BlockDevice> => {
    const { device, detach } = await attach(file);
    after(() => detach());
    return blockDeviceOf(device, file);
  };

  before(async () => {
    await ensureDebianPackages(['socat', 'e2fsprogs', 'systemd', 'openssh-client'], { install: true });
    tree = await tempTree('dpl-codes');
    const content = path.join(tree.path, 'content');
    loadImages(content, [app]);
    const diskFile = path.join(tree.path, 'disk.ext4');
    await makeDiskFile(content, diskFile, label);
    disk = { label, diskFile, device: await attached(diskFile) };
  });
  after(cleanUpAll);

  for (const code of Object.keys(codes) as Code[]) {
    it(`${code} is reached, and its entry says so`, async () => {
      const folder = path.join(tree.path, code);
      mkdirSync(folder);
      const undo: (() => unknown)[] = [];
      const after = (action: () => unknown): void => void undo.push(action);
      try {
        const findings = await reach[code]({ ...disk, folder, attach: (file) => attached(file, after), after });
        const found = findings.find((one) => one.code === code);
        assert.ok(found, `expected ${code}, found ${JSON.stringify(findings)}`);
        assert.ok(!found.message.includes('\n'));
        reached.set(code, findingEvent(found));
      } finally {
        execFileSync('sh', [
          '-c',
          'grep -o " $1/[^ ]*" /proc/self/mounts | tac | while read -r at; do umount "$at"; done',
          'sh',
          folder,
        ]);
        for (const action of undo) await action();
      }
    });
  }

  it('is quoted in the documents as it is said', () => {
    const text = readFileSync(path.join(root, 'agent/status/README.md'), 'utf8');
    const quoted = [...text.matchAll(/^([A-Z_]+): (.+)$/gm)].map(([, code = '', message = '']) => ({ code, message }));
    const anyDisk = (message: string): string =>
      message.replaceAll(/\bdisk \S+(?: \([^)]+\))?: /g, 'disk: ').replaceAll(/\d+/g, '0');
    // Of the ways in which a store is damaged, another is reached above.
    const said = quoted.filter(({ code }) => code !== 'STORE_DAMAGED');
    assert.ok(said.length >= 7, `${said.length} messages`);
    for (const { code, message } of said)
      assert.equal(anyDisk(message), anyDisk(reached.get(code as Code)?.message ?? ''), code);
  });

  it('has an id of its own, of 128 random bits, and names the file that it arises in', () => {
    const ids = names.map((name) => messages[name].id);
    assert.equal(new Set(ids).size, names.length);
    for (const id of ids) assert.match(id, /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    for (const name of names)
      assert.ok(
        readFileSync(path.join(root, messages[name].file), 'utf8').includes(`'${name}'`),
        `${messages[name].file} has no '${name}'`,
      );
  });

  it('is explained by the catalog, as journalctl reads it', () => {
    const folder = path.join(tree.path, 'catalog-root');
    mkdirSync(path.join(folder, 'usr/lib/systemd/catalog'), { recursive: true });
    mkdirSync(path.join(folder, 'var/lib/systemd/catalog'), { recursive: true });
    cpSync(catalog, path.join(folder, 'usr/lib/systemd/catalog/docker-preloader.catalog'));
    execFileSync('journalctl', [`--root=${folder}`, '--update-catalog'], { stdio: ['ignore', 'ignore', 'inherit'] });
    const dump = execFileSync('journalctl', [`--root=${folder}`, '--dump-catalog'], { encoding: 'utf8' });
    const entries = new Map(
      [...dump.matchAll(/^-- ([0-9a-f]{32})\n([^]*?)(?=^-- [0-9a-f]{32}$|$(?![^]))/gm)].map(
        ([, id = '', text = '']) => [id, text],
      ),
    );
    assert.deepEqual([...entries.keys()].toSorted(), names.map((name) => messages[name].id).toSorted());
    for (const [id, text] of entries)
      assert.match(text, /^Subject: [^\n]{10,}\nDefined-By: docker-preloader\n[^]*?\n\n[^]{40,}/, id);
  });

  it('reaches the journal with its id and its fields, all that the catalog fills in among them', (t) => {
    const sent = [...eventsOfRuns(t), ...reached.values()];
    const run = aRun(t);
    writeFileSync(
      path.join(tree.path, 'events.json'),
      JSON.stringify({ events: sent, status: statusDocument(run, 1) }),
    );
    const expected = sent.length + afterReady.length;
    // journald's socket has one name only: the test has a /run of its own, and JSON comes from a journal's reader, not
    // from us.
    const shell = `set -e
      mount -t tmpfs tmpfs /run
      mkdir -p /run/systemd/journal "$1/work"
      : >"$1/stderr"
      socat -u UNIX-RECV:/run/systemd/journal/socket CREATE:"$1/entries" &
      trap "kill $!" EXIT
      until [ -S /run/systemd/journal/socket ]; do sleep 0.01; done
      JOURNAL_STREAM=$(stat -c %d:%i "$1/stderr") "$2" --disable-warning=ExperimentalWarning "$3" "$1/events.json" "$1/work" 2>>"$1/stderr"
      for _ in $(seq 500); do [ "$(grep -c ^MESSAGE_ID= "$1/entries")" != ${expected} ] || break; sleep 0.01; done`;
    execFileSync(
      'unshare',
      [
        '--mount',
        'sh',
        '-c',
        shell,
        'sh',
        tree.path,
        process.execPath,
        path.join(import.meta.dirname, 'send-entries.ts'),
      ],
      { timeout: 30_000 },
    );
    assert.equal(readFileSync(path.join(tree.path, 'stderr'), 'utf8'), '');
    const entries = readFileSync(path.join(tree.path, 'entries'), 'utf8')
      .split(/^(?=MESSAGE=)/m)
      .map(
        (entry) =>
          new Map(
            entry
              .trimEnd()
              .split('\n')
              .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
          ),
      );
    assert.equal(entries.length, expected);
    const levels = { error: '3', warning: '4', notice: '5', info: '6' };
    const texts = new Map(
      readFileSync(catalog, 'utf8')
        .split(/^-- /m)
        .slice(1)
        .map((entry) => [entry.slice(0, 32), entry]),
    );
    for (const [index, entry] of entries.entries()) {
      const name = entry.get('PRELOADER_CODE') as EventName;
      assert.equal(name, sent[index]?.name ?? afterReady[index - sent.length]);
      assert.deepEqual(
        [entry.get('MESSAGE_ID'), entry.get('CODE_FILE'), entry.get('PRIORITY')],
        [messages[name].id, messages[name].file, levels[priorityOf(name)]],
      );
      for (const [, field = ''] of (texts.get(messages[name].id) ?? '').matchAll(/@(\w+)@/g))
        assert.ok(entry.has(field), `${name}: the catalog fills in ${field}, which the entry has not`);
    }
    assert.deepEqual(
      names.filter((name) => !entries.some((entry) => entry.get('PRELOADER_CODE') === name)),
      [],
      'never reached',
    );
  });

  it('has fields to search by: what is about a disk has its label, what is about an image its name', () => {
    for (const [code, { fields }] of reached) {
      if (
        /^(DISK|LABEL|MOUNT|LAYER|IMAGE|TAG|REFERENCE|REQUIRED)_/.test(code) &&
        !['DISK_INVALID', 'LABEL_INVALID', 'DISK_LAYOUT'].includes(code)
      )
        assert.ok(fields['LABEL'] !== undefined, `${code}: LABEL`);
      if (/^(DISK_DIRTY|DISK_TRUNCATED|DEVICE_|LABEL_|MOUNT_FAILED|MOUNT_BUSY)/.test(code))
        assert.ok(fields['DEVICE'] !== undefined, `${code}: DEVICE`);
      if (/^(IMAGE|TAG)_/.test(code)) assert.ok(fields['IMAGE'] !== undefined, `${code}: IMAGE`);
    }
    assert.equal(Object.keys(events).length + reached.size, names.length);
  });
});
