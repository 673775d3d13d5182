import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  bytes,
  decode,
  encode,
  field,
  flag,
  integer,
  list,
  message,
  text,
  texts,
} from '../../../agent/containerd/api/protobuf.ts';
import fc from '../../support/properties.ts';

const inner = { name: field(1, text), size: field(2, integer) };
const table = {
  text: field(1, text),
  integer: field(2, integer),
  flag: field(3, flag),
  bytes: field(4, bytes),
  inner: field(5, message(inner)),
  many: field(16, list(message(inner))),
  names: field(17, list(text)),
  labels: field(2 ** 28, texts),
};
const anyInner = fc.record(
  { name: fc.string({ unit: 'grapheme' }), size: fc.maxSafeInteger() },
  { noNullPrototype: true },
);
const anyMessage = fc.record(
  {
    text: fc.string({ unit: 'grapheme' }),
    integer: fc.maxSafeInteger(),
    flag: fc.boolean(),
    bytes: fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
    inner: fc.option(anyInner, { nil: undefined }),
    many: fc.array(anyInner),
    names: fc.array(fc.string()),
    labels: fc.dictionary(fc.string(), fc.string(), { maxKeys: 5 }).map((entries) => new Map(Object.entries(entries))),
  },
  { noNullPrototype: true },
);

describe('protobuf by tables', () => {
  it('decodes what it encodes', () => {
    fc.assert(
      fc.property(anyMessage, (value) => {
        assert.deepEqual(decode(table, encode(table, value)), value);
      }),
    );
  });

  it('passes over fields that it does not know', () => {
    fc.assert(
      fc.property(anyMessage, fc.subarray(Object.keys(table)), (value, known) => {
        const part = Object.fromEntries(Object.entries(table).filter(([name]) => known.includes(name)));
        const expected = Object.fromEntries(Object.entries(value).filter(([name]) => known.includes(name)));
        assert.deepEqual(decode(part, encode(table, value)), expected);
      }),
    );
  });

  it('throws at bytes that are no message, and never hangs', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (array) => {
        try {
          decode(table, Buffer.from(array));
        } catch (error) {
          assert.ok(error instanceof Error && error.message.startsWith('expected '), String(error));
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes what comes twice as the last, or as the next of a list', () => {
    const encoded = [encode(table, { text: 'first', names: ['a'] }), encode(table, { text: 'last', names: ['b'] })];
    const { text: found, names } = decode(table, Buffer.concat(encoded));
    assert.deepEqual([found, names], ['last', ['a', 'b']]);
  });

  it('has nothing of one message in the next', () => {
    const encoded = encode(table, { names: ['a'], labels: new Map([['k', 'v']]) });
    decode(table, encoded);
    assert.deepEqual(decode(table, Buffer.alloc(0)).names, []);
    assert.deepEqual(decode(table, encoded).names, ['a']);
    assert.equal(decode(table, Buffer.alloc(0)).labels.size, 0);
  });

  const broken: readonly (readonly [is: string, hex: string, message: RegExp])[] = [
    ['ends in a varint', '1080', /found the end/],
    ['ends in a text', '0a05616263', /expected 5 bytes, found 3/],
    ['has an integer of 64 bits and more', '10ffffffffffffffff7f', /53 bits/],
    ['has an integer of 11 bytes', '108080808080808080808001', /10 bytes/],
    ['has a text where an integer belongs', '1201 61'.replace(' ', ''), /wire type 0/],
    ['has a group', '1b', /wire type 0, found 3/],
    ['has a field of no number', '02', /number of a field/],
  ];
  for (const [is, hex, expected] of broken)
    it(`refuses what ${is}`, () => {
      assert.throws(() => decode(table, Buffer.from(hex, 'hex')), expected);
    });

  it('refuses to write what is no whole number', () => {
    assert.throws(() => encode(table, { integer: 1.5 }), /whole number/);
    assert.throws(() => encode(table, { integer: 2 ** 60 }), /whole number/);
  });
});
