import assert from 'node:assert/strict';
import { mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { deviceNumberOf, hasNode, isVirtualDrive, listBlockDevices } from '../../agent/system/block-devices.ts';
import { scratch } from '../support/temp-tree.ts';

interface Fake {
  readonly sectors?: string;
  readonly dev?: string;
  readonly removable?: string;
  readonly holders?: readonly string[];
  readonly partitionOf?: string;
}

/**
 * sysfs as the kernel lays it out: /sys/class/block/<name> links to the device's folder, a partition's in its disk's.
 */
function sysfs(root: string, devices: Readonly<Record<string, Fake>>): string {
  mkdirSync(path.join(root, 'class/block'), { recursive: true });
  for (const [name, fake] of Object.entries(devices)) {
    const folder = path.join(root, 'devices', fake.partitionOf ?? '', name);
    mkdirSync(path.join(folder, 'holders'), { recursive: true });
    writeFileSync(path.join(folder, 'size'), `${fake.sectors ?? '2048'}\n`);
    writeFileSync(path.join(folder, 'dev'), `${fake.dev ?? '254:0'}\n`);
    if (fake.partitionOf === undefined) writeFileSync(path.join(folder, 'removable'), `${fake.removable ?? '0'}\n`);
    else writeFileSync(path.join(folder, 'partition'), '1\n');
    for (const holder of fake.holders ?? []) symlinkSync('..', path.join(folder, 'holders', holder));
    symlinkSync(folder, path.join(root, 'class/block', name));
  }
  return root;
}

describe('the block devices', () => {
  it('tell the CD-ROM drives of virtual machines from others', (t) => {
    const root = scratch(t);
    for (const [name, vendor] of [
      ['sr0', 'QEMU    '],
      ['sr1', 'NECVMWar'],
      ['sr2', 'HL-DT-ST'],
      ['sr3', 'QEMUlator'],
    ] as const) {
      mkdirSync(path.join(root, 'class/block', name, 'device'), { recursive: true });
      writeFileSync(path.join(root, 'class/block', name, 'device/vendor'), `${vendor}\n`);
    }
    assert.deepEqual(
      ['sr0', 'sr1', 'sr2', 'sr3', 'sr4'].map((name) => isVirtualDrive(name, root)),
      [true, true, false, false, false],
    );
  });

  it('are listed with their size, number and holders, in the order of their names', (t) => {
    const devices = listBlockDevices(
      sysfs(scratch(t), {
        vdb: { sectors: '8', dev: '254:16' },
        vda: { holders: ['dm-0', 'md1'] },
        'cciss!c0d0': { dev: '104:0' },
      }),
    );
    assert.deepEqual(devices, [
      {
        name: 'cciss!c0d0',
        path: '/dev/cciss/c0d0',
        deviceNumber: '104:0',
        sizeBytes: 2048 * 512,
        removable: false,
        holders: [],
      },
      {
        name: 'vda',
        path: '/dev/vda',
        deviceNumber: '254:0',
        sizeBytes: 2048 * 512,
        removable: false,
        holders: ['dm-0', 'md1'],
      },
      { name: 'vdb', path: '/dev/vdb', deviceNumber: '254:16', sizeBytes: 8 * 512, removable: false, holders: [] },
    ]);
  });

  it('do not count without content, as floppies, or when they are taken away meanwhile', (t) => {
    const root = sysfs(scratch(t), {
      loop0: { sectors: '0' },
      sr0: { sectors: '0', removable: '1' },
      fd0: {},
      odd: { sectors: 'x' },
      gone: {},
      vda: {},
    });
    rmSync(path.join(root, 'devices/gone'), { recursive: true });
    assert.deepEqual(
      listBlockDevices(root).map((device) => device.name),
      ['vda'],
    );
  });

  it('that are loop devices are those that the kernel lists with content', (t) => {
    const root = sysfs(scratch(t), { loop0: {}, loop1: {}, loop2: {}, loop2p1: { partitionOf: 'loop2' }, vda: {} });
    const names = (proc: string): string[] => listBlockDevices(root, proc).map((device) => device.name);
    writeFileSync(
      path.join(root, 'partitions'),
      'major minor  #blocks  name\n\n   7        1       4616 loop1\n 259        0          1 loop2p1\n',
    );
    assert.deepEqual(names(root), ['loop1', 'loop2p1', 'vda']);
    assert.deepEqual(names(path.join(root, 'none')), ['loop0', 'loop1', 'loop2', 'loop2p1', 'vda']);
  });

  it('are as removable as their disk', (t) => {
    const root = sysfs(scratch(t), {
      sda: { removable: '1' },
      sda1: { partitionOf: 'sda' },
      sdb: {},
      sdb1: { partitionOf: 'sdb' },
    });
    assert.deepEqual(
      listBlockDevices(root).map((device) => [device.name, device.removable]),
      [
        ['sda', true],
        ['sda1', true],
        ['sdb', false],
        ['sdb1', false],
      ],
    );
  });

  it('are none where there is no sysfs', (t) => assert.deepEqual(listBlockDevices(path.join(scratch(t), 'none')), []));

  it('of this machine are listed with nodes of their own number', () => {
    for (const device of listBlockDevices()) {
      assert.match(device.deviceNumber, /^\d+:\d+$/);
      assert.ok(device.sizeBytes > 0);
    }
    assert.equal(deviceNumberOf(statSync('/dev/null').rdev), '1:3');
    assert.equal(
      hasNode({ name: 'null', path: '/dev/null', deviceNumber: '1:3', sizeBytes: 1, removable: false, holders: [] }),
      false,
    );
    assert.equal(
      hasNode({
        name: 'none',
        path: '/dev/none/such',
        deviceNumber: '1:3',
        sizeBytes: 1,
        removable: false,
        holders: [],
      }),
      false,
    );
  });

  it('have numbers as the kernel codes them', () => {
    for (const [device, text] of [
      [0x103, '1:3'],
      [0xfe10, '254:16'],
      [0x10_0801, '8:257'],
    ] as const) {
      assert.equal(deviceNumberOf(device), text);
    }
  });
});
