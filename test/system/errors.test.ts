import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { messageOf, PreloaderError } from '../../agent/system/errors.ts';

describe('an error', () => {
  it('has a code, a message and a cause', () => {
    const error = new PreloaderError('LOCKED', 'why', { cause: 7 });
    assert.deepEqual([error.code, error.message, error.name, error.cause], ['LOCKED', 'why', 'PreloaderError', 7]);
  });

  it('is told in one line, whatever was thrown', () => {
    assert.equal(messageOf(new Error('one\n  two\u0007')), String.raw`one two\x07`);
    assert.equal(messageOf('a string'), 'a string');
    assert.equal(messageOf(undefined), 'undefined');
  });
});
