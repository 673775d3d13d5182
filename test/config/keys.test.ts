import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as z from 'zod/mini';
import { keys } from '../../agent/config/keys.ts';
import { configOf, type Config } from '../../agent/config/config.ts';
import { parseConfig } from '../../agent/config/parse-config.ts';
import { configSchema } from '../../agent/packaging/manual/config-schema.ts';
import fc from '../support/properties.ts';
import { torture } from '../support/size.ts';
import { configInZod, parseInZod } from './config-in-zod.ts';

/** What is made of a text: a configuration, or why it is refused. */
function outcome(parse: (text: string) => unknown, text: string): { config: unknown } | { refused: string } {
  try {
    return { config: parse(text) };
  } catch (error) {
    return { refused: String(error).replace(/^Error: /, '') };
  }
}

const digest = `sha256:${'0a'.repeat(32)}`;
const key = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'aZ09+/'.repeat(7)}A`;
const names = Object.keys(keys);
const runs = Number(process.env['DPL_RUNS'] ?? (torture ? 300_000 : 5_000));

/** Texts that some key takes, and such as are nearly right. */
const texts = [
  ['dpl-*', 'a', '*', '?', 'sixteen-letters-', 'seventeen-letters', '.a', '-a', 'a b', 'é', '../x', '', ' ', '\n'],
  ['a*'.repeat(16), 'a*'.repeat(17), 'a.b_c-d', 'a..b', '[a]', 'a/b', 'a\u0000', '\uD800', '\u202E', 'x'.repeat(1e4)],
  [`a@${digest}`, `a*@${digest}`, `@${digest}`, 'a@', 'a@b@c', `a@${digest}0`, `a@${digest.toUpperCase()}`],
  ['/', '//', '///a', '/a', '/a/', '/a//', '/a/../..', '/./a/.', '/a/..b//c/', 'a/b', './a', '/\u0000', '/a\n'],
  ['unix:///a', 'unix:///', 'unix://a', 'unix:////', 'UNIX:///a', 'unix:///\u0000', 'unix:///\n', 'tcp://a'],
  ['user', 'disk', 'User', 'restore', 'respect', 'auto', 'overlay2', 'containerd', 'both', 'null', 'true', '0'],
  [
    `${key}`,
    `${key} a b`,
    `${key}\t`,
    `${key}=`,
    ` ${key}`,
    `${key}\n`,
    `${key} a\nb`,
    key.slice(0, -1),
    key.slice(12),
  ],
  [key.replace('ed25519 AAAA', 'rsa AAAA'), key.replace('NTE5', 'NTE6'), key.toUpperCase(), `from="*" ${key}`],
  ['moby', 'k8s.io', 'a'.repeat(76), 'a'.repeat(77), 'a.', '.', 'a--b', 'a\n', '__proto__', 'constructor'],
].flat();
/** As a number is written, also such as JSON.parse makes others of. */
const numbers = [
  ['0', '-0', '0.0', '-0e9', '1', '9', '9.999999999999999999', '10', '10.5', '3600', '3600.0000000001', '3601'],
  ['86400', '86401', '1000000', '1000001', '-1', '-1e-9', '5e-324', '1e-999', '9007199254740993', '1e308'],
].flat();
const infinite = ['1e309', '-1e309', '1e999999', '123456789'.repeat(50)];
const single = [...texts.map((text) => JSON.stringify(text)), ...numbers, 'null', 'true', 'false', '[]', '{}'];

const { value } = fc.letrec<{ value: string; leaf: string; list: string; object: string }>((tie) => ({
  leaf: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...single) },
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
    fc.integer({ min: 1, max: 400 }).map((levels) => `${'['.repeat(levels)}${']'.repeat(levels)}`),
  ),
  list: fc.array(tie('value'), { maxLength: 4 }).map((entries) => `[${entries.join(' ,')}]`),
  object: fc.array(fc.tuple(fc.constantFrom(...texts), tie('value')), { maxLength: 3 }).map(object),
  value: fc.oneof({ depthSize: 'small' }, { weight: 4, arbitrary: tie('leaf') }, tie('list'), tie('object')),
}));

function object(members: readonly (readonly [name: string, value: string])[]): string {
  return `{${members.map(([name, one]) => `${JSON.stringify(name)}: ${one}`).join(',')}}`;
}

/** For each key what it takes, so that what is read after it is reached. */
const fitting = new Map(
  Object.entries(keys).map(([name, { read, schema }]) => {
    const isList = schema.type === 'array';
    const good = single.filter(
      (one) => 'config' in outcome((text) => read(JSON.parse(text), name), isList ? `[${one}]` : one),
    );
    assert.ok(good.length > 0, name);
    const one = fc.constantFrom(...good);
    return [name, isList ? fc.array(one, { maxLength: 3 }).map((some) => `[${some.join(',')}]`) : one];
  }),
);

const member = fc.constantFrom(...names).chain((name) => fc.tuple(fc.constant(name), fitting.get(name) ?? value));
const strange = fc.tuple(
  fc.oneof(
    fc.constantFrom(...names),
    fc.constantFrom(...names).map((name) => name.toLowerCase()),
    fc.constantFrom('__proto__', 'constructor', 'toString', 'hasOwnProperty', 'label', '', '0', '7', 'é', 'a\u0000b'),
    fc.string({ unit: 'binary', maxLength: 8 }),
  ),
  value,
);
const config = fc
  .tuple(
    fc.uniqueArray(member, { maxLength: 8, selector: ([name]) => name }),
    fc.array(strange, { maxLength: 2 }),
    fc.boolean(),
  )
  .map(([good, bad, first]) => object(first ? [...bad, ...good] : [...good, ...bad]))
  // A key in escapes is the same key.
  .chain((text) => fc.constantFrom(text, text, text, text.replaceAll('o', String.raw`\u006f`), `\n${text} `));

const anything = fc.oneof(
  { weight: 20, arbitrary: config },
  { weight: 2, arbitrary: value },
  { weight: 1, arbitrary: fc.string() },
  { weight: 1, arbitrary: config.chain((text) => fc.nat(text.length).map((end) => text.slice(0, end))) },
);

const parse = (text: string): Config => configOf(parseConfig(text));

describe('the description of the configuration', () => {
  it('takes, makes and says of each value of each key what the same in zod does', () => {
    for (const name of names)
      for (const one of single)
        for (const text of [`{"${name}":${one}}`, `{"${name}":[${one}]}`])
          assert.deepEqual(outcome(parse, text), outcome(parseInZod, text), text);
  });

  it('takes, makes and says of whatever is written what the same in zod does', () => {
    const counts = { taken: 0, refused: 0 };
    fc.assert(
      fc.property(anything, (text) => {
        const ours = outcome(parse, text);
        assert.deepEqual(ours, outcome(parseInZod, text));
        counts['config' in ours ? 'taken' : 'refused'] += 1;
      }),
      { numRuns: runs },
    );
    assert.ok(counts.taken > runs / 10 && counts.refused > runs / 10, JSON.stringify(counts));
  });

  it('names the bound of a number that is larger than any, which in zod is none', () => {
    for (const [text, ours] of [
      ['{"deviceTimeoutSec":1e999}', '`deviceTimeoutSec`: expected at most 3600, found Infinity'],
      ['{"readAheadMb":-1e999}', '`readAheadMb`: expected at least 0, found -Infinity'],
      ['{"idleExitSec":1e999}', '`idleExitSec`: expected 0, or a time of 10 to 86400 seconds, found Infinity'],
    ] as const) {
      assert.deepEqual(outcome(parse, text), { refused: ours });
      assert.deepEqual(outcome(parseInZod, text), { refused: ours.replace(/expected .*,/, 'expected number,') });
    }
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.constantFrom(...infinite), (name, number) => {
        const says = new RegExp(`^\`${name}\`: expected .*, found -?Infinity$`);
        assert.match(String(Object.values(outcome(parse, `{"${name}":${number}}`))[0]), says);
      }),
    );
  });

  it('has the JSON schema that it has in zod', () => {
    assert.deepEqual(configSchema(), z.toJSONSchema(configInZod, { io: 'input' }));
    assert.deepEqual(Object.keys(configSchema().properties), Object.keys(configInZod.shape));
  });

  it('has defaults that could be written', () => {
    for (const [key, { read, otherwise }] of Object.entries(keys))
      if (otherwise !== undefined) assert.deepEqual(read(otherwise, key), otherwise);
  });
});
