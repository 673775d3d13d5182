import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { isFileLocked, tryLockFile } from '../../agent/system/lock.ts';
import { scratch } from '../support/temp-tree.ts';

describe('a lock', () => {
  it('is held by one at a time, and asking takes nothing', (t) => {
    const file = path.join(scratch(t), 'lock');
    assert.equal(isFileLocked(file), false);
    assert.equal(existsSync(file), false);
    const lock = tryLockFile(file);
    assert.ok(lock !== 'held');
    assert.equal(tryLockFile(file), 'held');
    assert.equal(isFileLocked(file), true);
    lock.release();
    assert.equal(isFileLocked(file), false);
    const again = tryLockFile(file);
    assert.ok(again !== 'held');
    again.release();
  });

  it('is not taken through a symlink', (t) => {
    const file = path.join(scratch(t), 'lock');
    symlinkSync('/etc/passwd', file);
    assert.throws(() => tryLockFile(file), { code: 'ELOOP' });
  });

  it('of another process is seen, until that ends', (t) => {
    const file = path.join(scratch(t), 'lock');
    writeFileSync(file, '');
    execFileSync('flock', [
      '--exclusive',
      file,
      process.execPath,
      '--input-type=module',
      '-e',
      `
      import { isFileLocked } from ${JSON.stringify(path.resolve(import.meta.dirname, '../../agent/system/lock.ts'))};
      process.exit(isFileLocked(${JSON.stringify(file)}) ? 0 : 1);`,
    ]);
    assert.equal(isFileLocked(file), false);
  });
});
