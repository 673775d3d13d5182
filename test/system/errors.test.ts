import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { messageAt, messageOf, PreloaderError, reasonOf } from '../../agent/system/errors.ts';

describe('an error', () => {
  it('has a code, a message and a cause', () => {
    const error = new PreloaderError('LOCKED', 'why', { cause: 7 });
    assert.deepEqual([error.code, error.message, error.name, error.cause], ['LOCKED', 'why', 'PreloaderError', 7]);
  });

  it('of the system is told in words, behind its path', () => {
    const failed = (action: () => unknown): unknown => {
      try {
        return action();
      } catch (error) {
        return error;
      }
    };
    const missing = failed(() => readFileSync('/no/such\u0007'));
    const full = failed(() => writeFileSync('/dev/full', 'x'));
    assert.equal(messageOf(missing), String.raw`/no/such\x07: no such file or folder`);
    assert.equal(reasonOf(missing), 'no such file or folder');
    assert.equal(messageAt('/no/such\u0007', missing), String.raw`/no/such\x07: no such file or folder`);
    assert.equal(messageAt('/dev/full', full), '/dev/full: no space left');
    assert.equal(messageOf(failed(() => renameSync('/no/a', '/no/b'))), '/no/a to /no/b: no such file or folder');
    assert.equal(messageOf(failed(() => readFileSync('/proc/self/mem'))), 'i/o error (EIO)');
    const refused = Object.assign(new Error('connect ECONNREFUSED /x.sock'), { code: 'ECONNREFUSED' });
    assert.equal(messageOf(refused), 'nobody listens there');
    // What says more than a number stays.
    assert.equal(messageOf(Object.assign(new Error('EBUSY: mount failed'), { code: 'EBUSY' })), 'EBUSY: mount failed');
  });

  it('is told in one line, whatever was thrown', () => {
    assert.equal(messageOf(new Error('one\n  two\u0007')), String.raw`one two\x07`);
    assert.equal(messageOf('a string'), 'a string');
    assert.equal(messageOf(undefined), 'undefined');
  });
});
