import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { codes } from '../../agent/messages/codes.ts';

describe('the codes', () => {
  for (const [code, { meaning }] of Object.entries(codes)) {
    it(`${code}: its name is a field's value, and its meaning goes on after a colon, in one line`, () => {
      assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
      assert.match(meaning, /^(?![A-Z][a-z]|.*\n)\S.{10,}[^\s.]$/s);
    });
  }
});
