import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Crc64 } from '../../../agent/builder/tar/crc64.ts';
import fc from '../../support/properties.ts';

describe('a checksum', () => {
  it("sums as Go's crc64.ISO does, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 9 }), (bytes, cut) => {
        const whole = new Crc64();
        whole.update(bytes);
        const parts = new Crc64();
        for (let offset = 0; offset < bytes.length; offset += cut) parts.update(bytes.subarray(offset, offset + cut));
        assert.equal(parts.digest().toString('hex'), whole.digest().toString('hex'));
        assert.equal(whole.digest().toString('hex'), bitwise(bytes));
      }),
    );
    const check = new Crc64();
    check.update(Buffer.from('123456789'));
    assert.equal(check.digest().toString('hex'), 'b90956c775a41001');
  });
});

/** crc64.ISO, bit by bit, by its definition. */
function bitwise(bytes: Uint8Array): string {
  let crc = 0xffff_ffff_ffff_ffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1n) === 1n ? (crc >> 1n) ^ 0xd800_0000_0000_0000n : crc >> 1n;
  }
  return (crc ^ 0xffff_ffff_ffff_ffffn).toString(16).padStart(16, '0');
}
