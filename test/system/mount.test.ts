import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { parseMountInfo as parse, readMounts } from '../../agent/system/mount.ts';

describe('mountinfo', () => {
  const parseMountInfo = (text: string): object[] =>
    parse(text).map(({ deviceNumber, path, filesystem }) => ({ deviceNumber, path, filesystem }));

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

  it('has the folder that is mounted, from what, and all options', () => {
    assert.deepEqual(parse(String.raw`36 35 98:0 /a\040b /mnt ro,nosuid shared:1 - 9p the\040tag rw,cache=loose`), [
      {
        id: '36',
        deviceNumber: '98:0',
        root: '/a b',
        path: '/mnt',
        filesystem: '9p',
        source: 'the tag',
        options: ['ro', 'nosuid', 'rw', 'cache=loose'],
      },
    ]);
  });

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
