import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { codes } from '../../agent/messages/codes.ts';

describe('the codes', () => {
  it('each say what they mean and what they make of the result', () => {
    for (const [code, { effect, meaning }] of Object.entries(codes)) {
      assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
      assert.match(effect, /^(none|degraded|failed)$/);
      assert.ok(meaning.length > 10);
    }
  });
});
