import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { sendDatagram } from '../../agent/system/datagram.ts';
import { scratch } from '../support/temp-tree.ts';

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
