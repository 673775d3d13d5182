import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { parseSource } from '../support/source.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Where a text says `X expected, found Y`: the other way round it begins with what the reader can check. */
const TURNED_AROUND = /(?<!\b(?:is|are|was|were) )\bexpected(?:[,;:]|$)|, expected /m;

const turnedAround = (file: string, text: string): string[] =>
  parseSource(file, text)
    .texts.filter((one) => TURNED_AROUND.test(one))
    .map((one) => `${file}: ${one}`);

describe('messages', () => {
  it('say what was expected, and then what was found', () =>
    assert.deepEqual(
      globSync('agent/**/*.ts', { cwd: root }).flatMap((file) =>
        turnedAround(file, readFileSync(path.join(root, file), 'utf8')),
      ),
      [],
    ));

  for (const [text, isWrong] of [
    ["throw new Error('a folder expected, found a file');", true],
    ['throw new Error(`${path}: a folder expected, found ${what}`);', true],
    ['throw new Error(`${path}: an answer expected: ${what}`);', true],
    ["throw new Error('a folder expected');", true],
    ["throw new Error('it is a file, expected a folder');", true],
    ['throw new Error(`expected a folder, found ${what}`);', false],
    ['throw new Error(`expected ${what}`);', false],
    ["throw new Error('expected JSON, found its end where a value was expected');", false],
    ['const { expected, found } = what; // a folder expected', false],
  ] as const)
    it(`are ${isWrong ? 'refused' : 'taken'} where the code is: ${text}`, () =>
      assert.equal(turnedAround('a.ts', text).length > 0, isWrong));
});
