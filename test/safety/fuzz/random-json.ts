import type { Dice } from '../../lives/dice.ts';

/** A document in which one value, key or entry is another. */
export function withOtherNode(document: unknown, dice: Dice): unknown {
  if (typeof document !== 'object' || document === null || dice.once(7)) return randomJson(dice, 3);
  if (Array.isArray(document)) {
    const list: unknown[] = [...(document as unknown[])];
    const at = dice.below(list.length + 1);
    const what = at === list.length ? 0 : dice.below(5);
    if (what === 0) list.splice(at, dice.below(2), randomJson(dice, 2));
    else if (what === 1) list.splice(at, 1, list[at], list[at]);
    else list[at] = withOtherNode(list[at], dice);
    return list;
  }
  const entries = Object.entries(document);
  const at = dice.below(entries.length + 1);
  const entry = entries[at];
  const what = dice.below(6);
  if (entry === undefined) entries.push([randomText(dice), randomJson(dice, 2)]);
  else if (what === 0) entries.splice(at, 1);
  else if (what === 1) entries[at] = [randomText(dice), entry[1]];
  else entries[at] = [entry[0], withOtherNode(entry[1], dice)];
  return Object.fromEntries(entries);
}

/** Any value. @param depth how many levels it may have */
export function randomJson(dice: Dice, depth: number): unknown {
  const length = dice.below(4);
  const kind = dice.below(depth > 0 ? 7 : 5);
  if (kind === 0) return dice.must([null, true, false]);
  if (kind === 1) return dice.must([0, -1, 1.5, 1e308, -1e-308, 2 ** 53 + 1, 2 ** 31, 4_294_967_296, 1e21, -0]);
  if (kind <= 4) return randomText(dice);
  if (kind === 5) return Array.from({ length }, () => randomJson(dice, depth - 1));
  return Object.fromEntries(Array.from({ length }, () => [randomText(dice), randomJson(dice, depth - 1)]));
}

/** Any text: with half surrogates, with zeros, long, or one that means something. */
function randomText(dice: Dice): string {
  const units = (limit: number): string =>
    String.fromCharCode(...Array.from({ length: dice.below(12) }, () => dice.below(limit)));
  return dice.must<() => string>([
    () => units(0x80),
    () => units(0x100),
    () => units(0x1_0000),
    () => String.fromCharCode(0xd800 + dice.below(0x800)),
    () => '\u{1F433}'.repeat(dice.below(3)),
    () => dice.must(['__proto__', 'constructor', 'toString', 'length', '0', '-1', '']),
    () => dice.must(['../../etc', '.', '..', '/', 'a/b', 'a\0b', '\u001B[2J', '1.0', '1.1', '2.0', '01.1', '1.1 ']),
    () => `sha256:${dice.must('0123456789abcdefAX \n'.split('')).repeat(63 + dice.below(3))}`,
    () => 'x'.repeat(2 ** dice.below(15)),
  ])();
}

/** What stands in JSON where it may not, or at the edge of what may. */
const pieces: readonly string[] = [
  '[1.]',
  '-01',
  '01',
  '.5',
  '1e',
  '1e+',
  '-',
  '+1',
  'NaN',
  'Infinity',
  'undefined',
  '0x10',
  '1_0',
  '1n',
  '"\\x41"',
  '"\\u{41}"',
  '"\\u12"',
  '"\\uD800"',
  '"\\ud83d\\ude00"',
  '"\\',
  '"a\nb"',
  '"\\\n"',
  "'a'",
  '`a`',
  '"\u0000"',
  '//',
  '/* */',
  '<!--',
  '#',
  ',',
  ',,',
  ':',
  '{',
  '}',
  '[',
  ']',
  '{}',
  '[]',
  '{"a":1,"a":2}',
  '{a:1}',
  '{"a":1,}',
  '[1,]',
  '\uFEFF',
  '\u2028',
  '\u00A0',
  '\v',
  '\f',
  '\r',
  '\t',
  'nul',
  'nullx',
  'truefalse',
  '1e999',
  '-1e999',
  '1e-999',
  `${'1'.repeat(400)}.${'1'.repeat(400)}`,
];

/** Text with something in it that is no JSON, or bytes that are no text. */
export function damagedText(text: Buffer, dice: Dice): Buffer {
  const at = dice.below(text.length + 1);
  const [before, behind] = [text.subarray(0, at), text.subarray(at)];
  const levels = dice.must([10, 9_990, 10_000, 10_010, 40_000]);
  const open = dice.must(['[', '{"":']);
  const put = dice.must<() => Buffer>([
    () => Buffer.from(dice.must(pieces)),
    () => Buffer.from(dice.must(pieces)),
    () => Buffer.from(Array.from({ length: 1 + dice.below(6) }, () => 0x70 + dice.below(0x90))),
    () =>
      Buffer.from(
        dice.must([[0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0xff], [0xf0, 0x9f]]),
      ),
    () => Buffer.from(`${open.repeat(levels)}${dice.once(2) ? '0' : ''}${(open === '[' ? ']' : '}').repeat(levels)}`),
  ])();
  const cut = dice.below(4);
  return Buffer.concat([
    before,
    put,
    cut === 0 ? behind.subarray(put.length) : cut === 1 && put.length < 9 ? Buffer.alloc(0) : behind,
  ]);
}
