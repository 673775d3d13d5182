import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { deviceNumberOf, hasNode, listBlockDevices } from '../../agent/system/block-devices.ts';
import { parseMountInfo, readMounts } from '../../agent/system/mount.ts';
import { scratch } from '../support/scratch.ts';

interface Fake {
  readonly sectors?: string;
  readonly dev?: string;
  readonly removable?: string;
  readonly holders?: readonly string[];
  readonly partitionOf?: string;
}

/** sysfs as the kernel lays it out: /sys/class/block/<name> links to the device's folder, a partition's in its disk's. */
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

describe('mountinfo', () => {
  const line = '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue';
  for (const { is, text, expected } of [
    { is: 'a line of proc(5)', text: line, expected: [{ deviceNumber: '98:0', path: '/mnt2', filesystem: 'ext3' }] },
    {
      is: 'no optional fields',
      text: '36 35 98:0 / /mnt rw - ext4 /dev/x rw',
      expected: [{ deviceNumber: '98:0', path: '/mnt', filesystem: 'ext4' }],
    },
    {
      is: 'several',
      text: '36 35 98:0 / /mnt rw shared:1 master:2 propagate_from:3 unbindable - erofs /dev/x ro',
      expected: [{ deviceNumber: '98:0', path: '/mnt', filesystem: 'erofs' }],
    },
    {
      is: 'escapes',
      text: String.raw`36 35 98:0 / /a\040b\011c\012d\134e rw - ext4 /dev/x rw`,
      expected: [{ deviceNumber: '98:0', path: '/a b\tc\nd\\e', filesystem: 'ext4' }],
    },
    {
      is: 'a path that is a dash',
      text: '36 35 98:0 / - rw shared:1 - ext4 /dev/x rw',
      expected: [{ deviceNumber: '98:0', path: '-', filesystem: 'ext4' }],
    },
    {
      is: 'several lines, the last without an end',
      text: `${line}\n\n${line}`,
      expected: [
        { deviceNumber: '98:0', path: '/mnt2', filesystem: 'ext3' },
        { deviceNumber: '98:0', path: '/mnt2', filesystem: 'ext3' },
      ],
    },
    { is: 'nonsense', text: 'a b c\n - - - \n36 35 98:0 / /mnt rw', expected: [] },
    { is: 'nothing', text: '', expected: [] },
  ]) {
    it(`with ${is}`, () => assert.deepEqual(parseMountInfo(text), expected));
  }

  it('of this machine is read whole', () => {
    assert.equal(readMounts().length, readFileSync('/proc/self/mountinfo', 'utf8').trim().split('\n').length);
    assert.ok(readMounts('1').some((mount) => mount.path === '/'));
  });

  it('of any path reads back, as the kernel escapes it', () => {
    const escape = (text: string): string =>
      text.replaceAll(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }).filter((text) => !/[\0]/.test(text)),
        (name) => {
          assert.deepEqual(parseMountInfo(`1 2 3:4 / /${escape(name)} rw - ext4 /dev/x rw`), [
            { deviceNumber: '3:4', path: `/${name}`, filesystem: 'ext4' },
          ]);
        },
      ),
    );
  });

  it('of any text is parsed without an error', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseMountInfo(text)));
  });
});
