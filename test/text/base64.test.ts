import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { base64Of, bytesOfBase64 } from '../../agent/text/base64.ts';
import fc from '../support/properties.ts';

describe('base64', () => {
  it('is what Node makes of any bytes, and they are found again', () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = Buffer.from(bytes).toString('base64');
        assert.equal(base64Of(bytes), text);
        assert.deepEqual(bytesOfBase64(text), Buffer.from(bytes));
      }),
    ));

  it('is nothing else: of the texts that Node reads, one is taken for some bytes', () =>
    fc.assert(
      fc.property(fc.array(fc.constantFrom('A', 'B', 'Q', 'g', '/', '+', '=', '-', ' ', '\n', 'é')), (signs) => {
        const text = signs.join('');
        const bytes = Buffer.from(text, 'base64');
        assert.deepEqual(bytesOfBase64(text), bytes.toString('base64') === text ? bytes : undefined);
      }),
    ));
});
