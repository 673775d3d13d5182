import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { oneLine } from '../../agent/text/one-line.ts';

describe('text for people', () => {
  it('is one line without control characters', () => {
    assert.equal(oneLine('a\u001b[31mb\nc\td\u009b\u2028e\0'), String.raw`a\x1b[31mb\x0ac\x09d\x9b\x2028e\x00`);
    assert.equal(oneLine('ä ✓ plain'), 'ä ✓ plain');
  });
});
