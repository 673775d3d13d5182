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

  for (const { text, kind, takes, leaves } of [
    { text: 'dpl-*', kind: 'glob', takes: ['dpl-', 'dpl-a', 'dpl-\u001b'], leaves: ['dpl', 'xdpl-a', 'DPL-a'] },
    { text: '*', kind: 'glob', takes: ['', 'a'], leaves: [] },
    { text: 'a?c', kind: 'glob', takes: ['abc', 'a.c'], leaves: ['ac', 'abbc'] },
    { text: 'a.c*', kind: 'glob', takes: ['a.c', 'a.cd'], leaves: ['abc'] },
    { text: 'name', kind: 'name', takes: ['name'], leaves: ['name2', 'nam'] },
  ]) {
    it(`${text} is a ${kind}`, () => {
      const pattern = labelPattern(text);
      for (const label of takes) assert.ok(pattern?.test(label), label);
      for (const label of leaves) assert.ok(!pattern?.test(label), label);
      assert.equal(isGlob(text), kind === 'glob');
    });
  }

  it('of many stars is matched in a time that does not explode', () => {
    const start = performance.now();
    labelPattern('*a'.repeat(16))?.test('a'.repeat(15) + 'b');
    assert.ok(performance.now() - start < 1000);
  });
});
