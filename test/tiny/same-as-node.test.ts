import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import fs, { mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { getSystemErrorMap } from 'node:util';
import fc from 'fast-check';
import { isSignedBy } from '../../agent/system/signed-by.ts';
import { systemError } from '../../agent/tiny/errno.ts';
import { mayHaveMoreValues } from '../../agent/text/more-values.ts';
import { isPlainPath } from '../../agent/text/plain-path.ts';
import { isSha256Digest } from '../../agent/text/sha256-digest.ts';
import { parseStrictly } from '../../agent/text/strict-json.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { seed } from '../support/seed.ts';
import { tempTree } from '../support/temp-tree.ts';
import { ask, makeProbe } from './probing.ts';
import { answers, type Question, type Runtime } from './questions.ts';

const RUNS = 3000;

let folder: string;
let probe: string;

before(async () => {
  folder = (await tempTree('dpl-probe', 'in-memory')).path;
  probe = await makeProbe(folder);
});
after(() => cleanUpAll());

const node: Runtime = {
  path: path.posix,
  fs,
  Buffer,
  sha256: (content) => createHash('sha256').update(content).digest('hex'),
  isSha256Digest,
  isPlainPath,
  mayHaveMoreValues,
  parseStrictly,
  isSignedBy,
} as Runtime;

const ofSmall = (questions: readonly Question[], before = ''): Promise<unknown[]> => ask(probe, questions, before);

/** Asks both. A question that they answer differently is told with both answers. */
async function agree(questions: readonly Question[]): Promise<void> {
  const expected = JSON.parse(JSON.stringify(answers(questions, node))) as unknown[];
  const found = await ofSmall(questions);
  assert.equal(found.length, expected.length);
  for (const [index, answer] of expected.entries())
    assert.deepEqual(found[index], answer, `asked: ${JSON.stringify(questions[index]).slice(0, 2000)}`);
}

const sampled = <Value>(arbitrary: fc.Arbitrary<Value>): Value[] => fc.sample(arbitrary, { numRuns: RUNS, seed });

const pathText = fc.oneof(
  fc
    .array(fc.constantFrom('/', '//', '.', '..', 'a', 'b c', 'ü', '...', ''), { maxLength: 9 })
    .map((parts) => parts.join('')),
  fc.array(fc.constantFrom('..', '.', 'a', 'bb', ''), { maxLength: 9 }).map((parts) => parts.join('/')),
);
const absolute = pathText.map((text) => `/${text}`);
/** What is nearly UTF-8: characters of each length, cut and changed. */
const bytes = fc.oneof(
  fc.array(
    fc.constantFrom(
      0x00,
      0x41,
      0x7f,
      0x80,
      0xbf,
      0xc0,
      0xc2,
      0xe0,
      0xa0,
      0xed,
      0xef,
      0xbb,
      0xf0,
      0x90,
      0xf4,
      0x8f,
      0xf5,
      0xff,
    ),
  ),
  fc.array(fc.integer({ min: 0, max: 255 })),
  fc.string({ unit: 'binary' }).map((text) => [...Buffer.from(text)]),
);
const units = fc.array(
  fc.oneof(
    fc.integer({ min: 0, max: 0xffff }),
    fc.integer({ min: 0xd7f0, max: 0xe010 }),
    fc.integer({ min: 0, max: 0x80 }),
  ),
);
const at = fc.integer({ min: -2, max: 12 });
/** JSON, and what is nearly JSON: with a sign more, less, or another. */
const json = fc.oneof(
  fc.json(),
  fc
    .tuple(
      fc.json(),
      fc.nat(),
      fc.nat({ max: 2 }),
      fc.constantFrom(...Array.from('{}[],:"\\0123456789.-+eEtfn \t\n\u00a0\u0000\u001fu/')),
    )
    .map(([text, place, kind, sign]) => {
      const where = place % (text.length + 1);
      return `${text.slice(0, where)}${kind === 2 ? '' : sign}${text.slice(where + (kind === 0 ? 0 : 1))}`;
    }),
  fc
    .array(
      fc.constantFrom(
        '[',
        ']',
        '{',
        '}',
        ',',
        ':',
        '"a"',
        '1',
        '-',
        '.',
        'e',
        '0',
        'true',
        'null',
        ' ',
        '"\\u00',
        '\\"',
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join('')),
  fc.double().map((number) => JSON.stringify([number])),
  fc
    .array(fc.constantFrom(...Array.from('0123456789')), { minLength: 1, maxLength: 40 })
    .map((digits) => `1${digits.join('')}e-${digits.length}`),
);

/** What parsers differ in, or a person may write. */
const odd = [
  '[1.]',
  '[-01]',
  '[01]',
  '[.5]',
  '[+1]',
  '[1e]',
  '[0x10]',
  '["\\x41"]',
  '["\\u{41}"]',
  '["a\\\nb"]',
  "['a']",
  '[1,]',
  '{"a":1,}',
  '[,]',
  '{a:1}',
  '//\n1',
  '/**/1',
  'NaN',
  '[Infinity]',
  '-',
  '',
  ' ',
  '"\t"',
  '"\u007f"',
  '\ufeff1',
  '1 2',
  '[1]]',
  '{"a":1}}',
  '{"__proto__":{"a":1},"a":2}',
  '{"2":1,"1":2,"a":3,"a":4}',
  '1e999',
  '-1e999',
  '1e-999',
  '-0',
  '[-0.0]',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\u2028"',
  'nul',
  'true ',
  '\vtrue',
  '"\\"',
  '0123',
];

describe('the small engine answers as Node', () => {
  it('on paths', async () => {
    const one = (['normalize', 'dirname', 'basename', 'isAbsolute'] as const).flatMap((name) =>
      sampled(pathText).map((text): Question => ({ ask: 'path', name, of: text })),
    );
    const joined = sampled(fc.array(pathText, { maxLength: 4 })).map((args): Question => ({
      ask: 'path',
      name: 'join',
      args,
    }));
    const resolved = sampled(fc.tuple(absolute, fc.array(pathText, { maxLength: 3 }))).map(
      ([first, more]): Question => ({ ask: 'path', name: 'resolve', args: [first, ...more] }),
    );
    const relative = sampled(fc.tuple(absolute, absolute)).map((args): Question => ({
      ask: 'path',
      name: 'relative',
      args,
    }));
    await agree([...one, ...joined, ...resolved, ...relative]);
  });

  it('on bytes that are text, and that are none', () =>
    agree(
      sampled(fc.tuple(bytes, fc.nat({ max: 9 }), fc.nat({ max: 9 }))).map(([all, start, end]): Question => ({
        ask: 'text',
        bytes: all,
        start,
        end,
      })),
    ));

  it('on text as bytes, with halves of surrogate pairs', () =>
    agree(sampled(units).map((all): Question => ({ ask: 'bytes', units: all }))));

  it('on numbers in bytes, within them and beyond', () =>
    agree(
      sampled(
        fc.tuple(
          fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 10 }),
          at,
          fc.integer({ min: -0x80000000, max: 0x7fffffff }),
        ),
      ).map(([all, place, value]): Question => ({ ask: 'numbers', bytes: all, at: place, value })),
    ));

  it('on buffers, and their sha256', () =>
    agree(sampled(fc.tuple(bytes, bytes)).map(([all, more]): Question => ({ ask: 'buffers', bytes: all, more }))));

  it('on the sha256 of each length about that of its blocks', () =>
    agree(
      Array.from({ length: 200 }, (_, length): Question => ({
        ask: 'buffers',
        bytes: Array.from({ length }, (_, index) => index),
        more: [],
      })),
    ));

  it('on which paths are plain', () => {
    const names = fc.array(
      fc.constantFrom('/', '//', '.', '..', 'a', 'b c', '-x', 'ü', '\u0100', '\ud800', '\0', '\n', ''),
      {
        maxLength: 9,
      },
    );
    const texts = [...sampled(names).map((parts) => parts.join('')), ...sampled(names).map((parts) => parts.join('/'))];
    return agree(texts.map((text) => ({ ask: 'plain path', text })));
  });

  it('on digests, and on what is nearly one', () => {
    const digest = fc
      .tuple(fc.constantFrom('sha256:', 'sha256', 'sha512:', 'SHA256:', ''), fc.nat({ max: 66 }), fc.nat({ max: 66 }))
      .chain(([kind, length, place]) =>
        fc
          .tuple(
            fc.array(fc.constantFrom(...Array.from('0123456789abcdef')), {
              minLength: length < 60 ? 64 : length,
              maxLength: length < 60 ? 64 : length,
            }),
            fc.constantFrom('', '', 'g', 'A', '/', ':', '`', '\n', '\0', 'ü', '\ud800'),
          )
          .map(([digits, odd]) => kind + (odd === '' ? digits : digits.with(place % digits.length, odd)).join('')),
      );
    return agree(sampled(digest).flatMap((text) => [text, `${text}\n`].map((of) => ({ ask: 'digest', text: of }))));
  });

  it('on JSON, and on what is none', () =>
    agree(
      [...odd, ...sampled(json)].flatMap((text): Question[] => [
        { ask: 'json', text },
        { ask: 'values', text },
        { ask: 'strict json', text },
      ]),
    ));

  it('on files, and on each error of theirs', async () => {
    for (const name of ['of-node', 'of-small']) mkdirSync(path.join(folder, name));
    const [expected] = answers([{ ask: 'files', folder: path.join(folder, 'of-node') }], node);
    const [found] = await ofSmall([{ ask: 'files', folder: path.join(folder, 'of-small') }]);
    assert.deepEqual(found, JSON.parse(JSON.stringify(expected).replaceAll('of-node', 'of-small')));
  });

  it('on the names and texts of errors', () => {
    const known = [...getSystemErrorMap()].filter(([number]) => number > -200);
    assert.ok(known.length > 60);
    for (const [number, [code, text]] of known)
      assert.equal(systemError(-number, 'open', '/x').message, `${code}: ${text}, open '/x'`);
  });
});

describe('JSON that is nested', () => {
  const nested = (levels: number): readonly Question[] => [
    { ask: 'json', text: `${'['.repeat(levels)}${']'.repeat(levels)}` },
    { ask: 'json', text: `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}` },
  ];

  it('is taken to 10,000 levels, as dockerd takes it', async () => {
    assert.deepEqual(
      await ofSmall(nested(10_000)),
      nested(10_000).map((question) => (question.ask === 'json' ? question.text : '')),
    );
  });

  it('is taken and refused in the same words by both', () =>
    agree(
      [10_000, 10_001, 100_000]
        .flatMap((levels) => [...nested(levels)])
        .flatMap((question): Question[] =>
          question.ask === 'json'
            ? [
                { ask: 'strict json', text: question.text },
                { ask: 'strict json', text: question.text.slice(0, -1) },
              ]
            : [],
        ),
    ));

  it('is refused beyond', async () => assert.deepEqual(await ofSmall(nested(10_001)), ['RangeError', 'RangeError']));

  it('is refused sooner where there is little stack, and nothing worse happens', async () => {
    for (const kilobytes of [256, 512, 1024]) {
      const found = await ofSmall(nested(10_000), `ulimit -s ${kilobytes};`);
      for (const answer of found) assert.match(String(answer), /^(SyntaxError|RangeError)$/);
    }
  });
});
