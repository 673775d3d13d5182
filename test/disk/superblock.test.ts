import assert from 'node:assert/strict';
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import fc from '../support/properties.ts';
import { parseSuperblock, readSuperblock, SUPERBLOCK_BYTES } from '../../agent/disk/superblock.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeScratch, removeScratch } from '../support/temp-tree.ts';

const MIB = 1024 * 1024;
const uuid = '12345678-9abc-4def-8123-456789abcdef';
const hex = uuid.replaceAll('-', '');

describe('a superblock', () => {
  let folder = '';
  before(async () => {
    folder = makeScratch();
    await ensureDebianPackages(['e2fsprogs', 'erofs-utils'], { install: true });
  });
  after(() => removeScratch(folder));

  const image = async (name: string, sizeBytes: number, ...command: readonly string[]): Promise<string> => {
    const file = path.join(folder, name);
    writeFileSync(file, '');
    truncateSync(file, sizeBytes);
    const [program = '', ...args] = command;
    await execa(program, [...args, file, ...(program === 'mkfs.erofs' ? [path.join(folder, 'empty')] : [])]);
    return file;
  };
  const patch = (file: string, offset: number, ...bytes: readonly number[]): void => {
    const fd = openSync(file, 'r+');
    writeSync(fd, Buffer.from(bytes), 0, bytes.length, offset);
    closeSync(fd);
  };

  for (const { is, args, label } of [
    { is: '4 KiB blocks', args: ['-b', '4096', '-L', 'dpl-0123456789a'], label: 'dpl-0123456789a' },
    { is: '1 KiB blocks', args: ['-b', '1024', '-L', 'sixteen-letters!'], label: 'sixteen-letters!' },
    { is: '64 bit', args: ['-O', '64bit', '-b', '4096', '-L', 'x'], label: 'x' },
    { is: 'no label', args: ['-b', '4096'], label: '' },
    { is: 'no journal', args: ['-O', '^has_journal', '-b', '4096', '-L', 'x'], label: 'x' },
  ]) {
    it(`of ext4 with ${is} is read`, async () => {
      const file = await image(`ext4-${is}`, 16 * MIB, 'mkfs.ext4', '-q', '-F', '-U', uuid, ...args);
      assert.deepEqual(readSuperblock(file), {
        filesystem: 'ext4',
        label,
        uuid: hex,
        sizeBytes: 16 * MIB,
        dirty: false,
      });
    });
  }

  it('of ext4 tells of a journal to replay', async () => {
    const file = await image('recover', 16 * MIB, 'mkfs.ext4', '-q', '-F', '-b', '4096', '-L', 'x');
    assert.equal(readSuperblock(file)?.dirty, false);
    await execa('debugfs', ['-w', '-R', 'feature needs_recovery', file]);
    assert.equal(readSuperblock(file)?.dirty, true);
  });

  it('of ext4 without a journal tells that it was not unmounted', async () => {
    const file = await image('unclean', 16 * MIB, 'mkfs.ext4', '-q', '-F', '-O', '^has_journal', '-L', 'x');
    patch(file, 1024 + 0x3a, 0, 0);
    assert.equal(readSuperblock(file)?.dirty, true);
  });

  it('of ext4 tells a size beyond 32 bits of blocks', async () => {
    const file = await image('large', 16 * MIB, 'mkfs.ext4', '-q', '-F', '-O', '64bit', '-b', '4096', '-L', 'x');
    patch(file, 1024 + 0x150, 1, 0, 0, 0);
    assert.equal(readSuperblock(file)?.sizeBytes, 2 ** 32 * 4096 + 16 * MIB);
  });

  it('of an external journal is none', async () => {
    assert.equal(
      readSuperblock(await image('journal', 16 * MIB, 'mke2fs', '-q', '-F', '-O', 'journal_dev', '-L', 'x')),
      undefined,
    );
  });

  it('of erofs is read', async () => {
    const empty = path.join(folder, 'empty');
    await execa('mkdir', ['-p', empty]);
    writeFileSync(path.join(empty, 'file'), 'x'.repeat(100_000));
    const file = await image('erofs', 0, 'mkfs.erofs', '--quiet', '-U', uuid);
    const plain = readSuperblock(file);
    assert.equal(plain?.filesystem, 'erofs');
    assert.equal(plain?.uuid, hex);
    assert.equal(plain?.dirty, false);
    // mkfs.erofs knows -L from 1.7 on only.
    patch(file, 1024 + 64, ...Buffer.from('fifteen-letters'), 0);
    assert.equal(readSuperblock(file)?.label, 'fifteen-letters');
    const size = (await execa('stat', ['-c', '%s', file])).stdout;
    assert.equal(plain?.sizeBytes, Number(size));
  });

  it('is none in a file that is empty, short, zero or of another filesystem', async () => {
    for (const [name, bytes] of [
      ['empty', 0],
      ['short', SUPERBLOCK_BYTES - 1],
      ['zero', SUPERBLOCK_BYTES],
    ] as const) {
      const file = path.join(folder, `none-${name}`);
      writeFileSync(file, Buffer.alloc(bytes));
      assert.equal(readSuperblock(file), undefined);
    }
    const swap = path.join(folder, 'swap');
    writeFileSync(swap, Buffer.alloc(MIB));
    await execa('mkswap', [swap]);
    assert.equal(readSuperblock(swap), undefined);
  });

  it('says what is wrong with a device that cannot be opened', () => {
    assert.throws(() => readSuperblock(path.join(folder, 'nothing')), { code: 'ENOENT' });
  });

  const superblocks = fc.uint8Array({ minLength: SUPERBLOCK_BYTES, maxLength: SUPERBLOCK_BYTES });
  it('of any bytes is none, or has a label of at most 16 and a size', () => {
    const read = { ext4: 0, erofs: 0 };
    fc.assert(
      fc.property(superblocks, fc.constantFrom('none', 'ext4', 'erofs'), fc.nat(8), (random, magic, size) => {
        const bytes = Buffer.from(random);
        if (magic === 'ext4') {
          bytes.writeUInt16LE(0xef53, 1024 + 0x38);
          bytes.writeUInt32LE(size, 1024 + 0x18);
        } else if (magic === 'erofs') {
          bytes.writeUInt32LE(0xe0f5e1e2, 1024);
          bytes.writeUInt8(8 + size, 1024 + 12);
        }
        const found = parseSuperblock(bytes);
        if (found === undefined) return;
        read[found.filesystem] += 1;
        assert.ok(found.label.length <= 16);
        assert.doesNotMatch(found.label, /\0/);
        assert.match(found.uuid, /^[0-9a-f]{32}$/);
        assert.ok(Number.isFinite(found.sizeBytes) && found.sizeBytes >= 0);
      }),
      { numRuns: 200 },
    );
    assert.ok(read.ext4 > 10 && read.erofs > 10, JSON.stringify(read));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: SUPERBLOCK_BYTES - 1 }), (short) =>
        assert.equal(parseSuperblock(Buffer.from(short)), undefined),
      ),
    );
  });
});
