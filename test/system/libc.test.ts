import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemCall } from '../../agent/system/libc.ts';

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
});
