import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { discover, labelFilter, type Discovery } from '../../agent/boot/discover.ts';
import { deviceNumberOf, type BlockDevice } from '../../agent/system/block-devices.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { required as requiredOf } from '../support/required.ts';
import { makeScratch, removeScratch } from '../support/temp-tree.ts';

describe('the labels that are looked for', () => {
  for (const { labels, required = [], ranks } of [
    { labels: ['dpl-*'], ranks: { 'dpl-a': 0, other: -1 } },
    { labels: ['dpl-*', 'late'], ranks: { 'dpl-a': 0, late: 1 } },
    // A name that a glob takes, too, has its own place, wherever that is.
    { labels: ['dpl-a', 'dpl-*'], ranks: { 'dpl-a': 0, 'dpl-b': 1 } },
    { labels: ['dpl-*', 'dpl-a'], ranks: { 'dpl-a': 1, 'dpl-b': 0 } },
    { labels: ['a*', '*b'], ranks: { ab: 1, a: 0, b: 1 } },
    { labels: ['x', 'dpl-*', 'x'], ranks: { x: 2 } },
    { labels: ['dpl-*'], required: ['base', 'must-*'], ranks: { base: 0, 'must-1': 1, 'dpl-a': 2 } },
    { labels: ['dpl-*'], required: ['dpl-a'], ranks: { 'dpl-a': 1, 'dpl-b': 1 } },
    { labels: [], ranks: { 'dpl-a': -1 } },
  ] as readonly { labels: string[]; required?: string[]; ranks: Record<string, number> }[]) {
    it(`labels ${JSON.stringify(labels)}, required ${JSON.stringify(required)}`, () => {
      const filter = labelFilter({ labels, required: requiredOf(...required) });
      for (const [label, rank] of Object.entries(ranks)) assert.equal(filter.rank(label), rank, label);
    });
  }

  it('are awaited where they are named or required', () => {
    const filter = labelFilter({
      labels: ['dpl-*', 'named', 'base'],
      required: requiredOf(`base@sha256:${'a'.repeat(64)}`, 'must-*'),
    });
    assert.deepEqual(filter.awaited.toSorted(), ['base', 'must-*', 'named']);
    assert.ok(filter.isNamed('named') && filter.isNamed('base') && !filter.isNamed('dpl-a') && filter.hasNames);
    assert.equal(labelFilter({ labels: ['dpl-*'], required: requiredOf('must-*') }).hasNames, false);
  });
});

/** discover() opens device nodes; here they are loop devices of real filesystems, where that can be had. */
describe('discovery', () => {
  let folder = '';
  const loops: string[] = [];
  before(async () => {
    folder = makeScratch();
    await ensureDebianPackages(['e2fsprogs'], { install: true });
  });
  after(() => {
    for (const loop of loops) execFileSync('losetup', ['--detach', loop]);
    removeScratch(folder);
  });

  const filesystem = (name: string, label: string, bytes = 8 * 1024 * 1024): string => {
    const file = path.join(folder, name);
    writeFileSync(file, '');
    truncateSync(file, bytes);
    execFileSync('mkfs.ext4', ['-q', '-F', '-b', '4096', '-L', label, file], { stdio: 'ignore' });
    return file;
  };
  const attach = (file: string): BlockDevice => {
    const loop = execFileSync('losetup', ['--find', '--show', '--read-only', file], { encoding: 'utf8' }).trim();
    loops.push(loop);
    const { size } = statSync(file);
    return {
      name: path.basename(loop),
      path: loop,
      deviceNumber: deviceNumberOf(statSync(loop).rdev),
      sizeBytes: size,
      removable: false,
      holders: [],
    };
  };
  const find = (devices: readonly BlockDevice[], labels: string[] = ['dpl-*'], required: string[] = []): Discovery =>
    discover(labelFilter({ labels, required: requiredOf(...required) }), devices);

  it('finds disks by label, and only those', () => {
    const [a, other] = [attach(filesystem('a', 'dpl-a')), attach(filesystem('other', 'other'))];
    const found = find([a, other]);
    assert.deepEqual([...found.disks.keys()], ['dpl-a']);
    assert.deepEqual([found.findings, found.missing], [[], []]);
    assert.equal(found.disks.get('dpl-a')?.[0]?.superblock.label, 'dpl-a');
    // Removable: only by name. With a holder, without a node, of another number: not at all.
    const removable = { ...a, removable: true };
    assert.equal(find([removable]).disks.size, 0);
    assert.equal(find([removable], ['dpl-b', 'dpl-*']).disks.size, 0);
    assert.equal(find([removable], ['dpl-a']).disks.size, 1);
    assert.equal(find([removable], ['dpl-*'], ['dpl-a']).disks.size, 1);
    // Who attached one and wonders finds out why; of one that nothing takes there is nothing to tell.
    for (const labels of [['dpl-*'], ['dpl-b', 'dpl-*']]) {
      const { findings, refused } = find([removable, { ...other, removable: true }], labels);
      assert.deepEqual(
        [findings.map(({ code, label, device }) => [code, label, device]), refused],
        [[['DISK_REMOVABLE', 'dpl-a', a.path]], []],
      );
      assert.match(
        findings[0]?.message ?? '',
        /^disk dpl-a \(\S+\) is left out: the device is removable, .*; add "dpl-a" to `labels` if it is meant$/,
      );
    }
    assert.deepEqual(find([removable], ['dpl-a']).findings, []);
    // A CD is not read for that, unless its drive is that of a virtual machine. No machine has so many drives.
    assert.deepEqual(find([{ ...removable, name: 'sr77' }]).findings, []);
    for (const odd of [
      { ...a, holders: ['dm-0'] },
      { ...a, path: '/dev/none/such' },
      { ...a, deviceNumber: '1:1' },
    ])
      assert.equal(find([odd]).disks.size, 0);
  });

  it('tells of disks in the order of their labels, whatever the kernel called their devices', () => {
    const [b, a] = [attach(filesystem('second', 'dpl-b')), attach(filesystem('first', 'dpl-a'))];
    for (const devices of [
      [a, b],
      [b, a],
    ])
      assert.deepEqual([...find(devices).disks.keys()], ['dpl-a', 'dpl-b']);
  });

  it('shows a label that is there twice', () => {
    const file = filesystem('twice', 'dpl-twice');
    const found = find([attach(file), attach(filesystem('twice again', 'dpl-twice'))]);
    assert.equal(found.disks.get('dpl-twice')?.length, 2);
  });

  it('says what is missing', () => {
    const device = attach(filesystem('b', 'dpl-b'));
    assert.deepEqual(find([device], ['dpl-b', 'dpl-c'], ['must-*']).missing.toSorted(), ['dpl-c', 'must-*']);
    assert.deepEqual(find([device], [], ['dpl-*']).missing, []);
  });

  it('leaves out, with the reason, a dirty one, a truncated one and one with an odd label', () => {
    const dirty = filesystem('dirty', 'dpl-dirty');
    execFileSync('debugfs', ['-w', '-R', 'feature needs_recovery', dirty], { stdio: 'ignore' });
    const short = attach(filesystem('short', 'dpl-short'));
    const odd = attach(filesystem('odd', 'dpl-\u001b[2J'));
    const found = find([attach(dirty), { ...short, sizeBytes: short.sizeBytes - 4096 }, odd]);
    assert.equal(found.disks.size, 0);
    assert.deepEqual(found.findings.map((finding) => finding.code).toSorted(), [
      'DISK_DIRTY',
      'DISK_TRUNCATED',
      'LABEL_INVALID',
    ]);
    for (const { message } of found.findings) {
      assert.match(message, /expected/);
      // oxlint-disable-next-line no-control-regex -- none may be left
      assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f]/);
    }
  });

  it('tells of a device that cannot be read only where a disk is missed', () => {
    mkdirSync(path.join(folder, 'nothing'), { recursive: true });
    const zero = attach(filesystem('gone', 'dpl-gone'));
    execFileSync('losetup', ['--detach', loops.pop() ?? '']);
    const found = find([zero], ['dpl-*', 'named']);
    assert.ok(found.findings.every((finding) => finding.code === 'DEVICE_UNREADABLE'));
    assert.deepEqual(find([zero]).findings, []);
  });
});
