import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { requiredDigests, parseRequired } from '../../agent/config/required.ts';
import { required as requiredOf } from '../support/required.ts';

describe('the digest that a disk must have', () => {
  const [a, b] = ['a', 'b'].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string];
  for (const [required, label, digests] of [
    [[], 'dpl-a', undefined],
    [['dpl-a', 'dpl-*'], 'dpl-a', undefined],
    [[`dpl-a@${a}`], 'dpl-a', [a]],
    [[`dpl-a@${a}`], 'dpl-b', undefined],
    [[`dpl-*@${a}`], 'dpl-b', [a]],
    [[`dpl-*@${a}`, `dpl-?@${b}`], 'dpl-b', [a, b]],
    [[`dpl-*@${a}`, `dpl-b@${b}`], 'dpl-b', [b]],
    [[`dpl-*@${a}`, 'dpl-b'], 'dpl-b', [a]],
  ] as const satisfies readonly (readonly [readonly string[], string, readonly string[] | undefined])[]) {
    it(`${label} under ${JSON.stringify(required).replaceAll(/(sha256:.)\w*/g, '$1…')}: ${digests === undefined ? 'any' : digests.length}`, () =>
      assert.deepEqual(requiredDigests(requiredOf(...required), label), digests));
  }
});

const digest = `sha256:${'a'.repeat(64)}`;

describe('a required entry', () => {
  for (const [text, expected] of [
    ['base', { pattern: 'base', digest: undefined, text: 'base' }],
    ['must-*', { pattern: 'must-*', digest: undefined, text: 'must-*' }],
    [`base@${digest}`, { pattern: 'base', digest, text: `base@${digest}` }],
    ['', undefined],
    ['@', undefined],
    [`@${digest}`, undefined],
    ['base@', undefined],
    [`base@${digest}@${digest}`, undefined],
    [`base@${digest.toUpperCase()}`, undefined],
    ['../x', undefined],
  ] as const) {
    it(`'${text.slice(0, 20)}' is ${expected === undefined ? 'refused' : 'taken'}`, () =>
      assert.deepEqual(parseRequired(text), expected));
  }
});
