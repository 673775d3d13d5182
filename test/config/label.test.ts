import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isGlob, isLabel, labelPattern } from '../../agent/config/label.ts';

describe('a label', () => {
  for (const text of ['dpl-0123456789a', 'a', 'A.b_c-d', 'x'.repeat(16)])
    it(`${text} is taken`, () => assert.ok(isLabel(text)));
  for (const text of [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    '-a',
    '.hidden',
    'a b',
    'a\n',
    'a\0',
    'x'.repeat(17),
    'ä',
    '\u001b[m',
  ]) {
    it(`${JSON.stringify(text)} is not`, () => {
      assert.ok(!isLabel(text));
      assert.equal(labelPattern(text), undefined);
    });
  }

  for (const { glob, takes, leaves } of [
    { glob: 'dpl-*', takes: ['dpl-', 'dpl-a', 'dpl-\u001b'], leaves: ['dpl', 'xdpl-a', 'DPL-a'] },
    { glob: '*', takes: ['', 'a'], leaves: [] },
    { glob: 'a?c', takes: ['abc', 'a.c'], leaves: ['ac', 'abbc'] },
    { glob: 'a.c*', takes: ['a.c', 'a.cd'], leaves: ['abc'] },
    { glob: 'name', takes: ['name'], leaves: ['name2', 'nam'] },
  ]) {
    it(`${glob} as a pattern`, () => {
      const pattern = labelPattern(glob);
      for (const text of takes) assert.ok(pattern?.test(text), text);
      for (const text of leaves) assert.ok(!pattern?.test(text), text);
      assert.equal(isGlob(glob), /[*?]/.test(glob));
    });
  }

  it('of many stars is matched in a time that does not explode', () => {
    const start = performance.now();
    labelPattern('*a'.repeat(16))?.test('a'.repeat(15) + 'b');
    assert.ok(performance.now() - start < 1000);
  });
});
