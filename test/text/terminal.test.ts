import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { cutToWidth, terminalOf, widthOf, wrap } from '../../agent/text/terminal.ts';

describe('a terminal', () => {
  for (const { is, stream, env, expected } of [
    {
      is: 'has colours and a width',
      stream: { isTTY: true, columns: 100 },
      env: {},
      expected: { columns: 100, color: true },
    },
    {
      is: 'has no colours with NO_COLOR',
      stream: { isTTY: true, columns: 100 },
      env: { NO_COLOR: '1' },
      expected: { columns: 100, color: false },
    },
    {
      is: 'has colours with an empty NO_COLOR',
      stream: { isTTY: true, columns: 100 },
      env: { NO_COLOR: '' },
      expected: { columns: 100, color: true },
    },
    {
      is: 'may be dumb',
      stream: { isTTY: true, columns: 100 },
      env: { TERM: 'dumb' },
      expected: { columns: 100, color: false },
    },
    {
      is: 'that does not know its width has 80',
      stream: { isTTY: true, columns: 0 },
      env: {},
      expected: { columns: 80, color: true },
    },
    {
      is: 'is not what is no terminal',
      stream: { isTTY: false, columns: 100 },
      env: {},
      expected: { columns: undefined, color: false },
    },
  ]) {
    it(is, () => assert.deepEqual(terminalOf(stream, env), expected));
  }

  for (const [text, width] of [
    ['', 0],
    ['abc', 3],
    ['漢字', 4],
    ['한글', 4],
    ['ｆｕｌｌ', 8],
    ['e\u0301', 1],
    ['👩‍👩‍👧', 2],
    ['😀x', 3],
    ['…', 1],
    ['ä', 1],
  ] as const) {
    it(`takes ${width} cells for ${JSON.stringify(text)}`, () => assert.equal(widthOf(text), width));
  }

  it('gets what was cut to a width, never more', () => {
    assert.deepEqual(
      [cutToWidth('abcdef', 6), cutToWidth('abcdef', 5), cutToWidth('漢字漢', 5), cutToWidth('漢字漢', 4)],
      ['abcdef', 'abcd…', '漢字…', '漢…'],
    );
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }),
        fc.integer({ min: 1, max: 20 }),
        (text, width) => widthOf(cutToWidth(text, width)) <= width,
      ),
    );
  });

  it('gets lines broken between words', () => {
    assert.deepEqual(wrap('one two three', 8, '  '), ['one two', '  three']);
    assert.deepEqual(wrap('a-word-too-long x', 5, ''), ['a-word-too-long', 'x']);
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z]{1,9}$/)), (words) =>
        assert.equal(wrap(words.join(' '), 12, '').join(' '), words.join(' ')),
      ),
    );
  });
});
