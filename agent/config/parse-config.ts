import { isRecord } from '../text/is-record.ts';
import { membersOf } from '../text/json-members.ts';
import { parseText } from '../text/parse-json.ts';
import { expected } from '../text/shape.ts';
import { configOf } from './config.ts';
import { keys } from './keys.ts';

/** What is said for some of the keys. */
export type Said = Readonly<Record<string, unknown>>;

/**
 * The text of what was read, without a byte order mark.
 * @throws Error where it is not UTF-8: a path in it would become another one
 */
export function textOf(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) throw new Error('expected UTF-8, found bytes that are none');
  return text.replace(/^\uFEFF/, '');
}

/** Parses the text of a configuration file. @returns what it says, which is checked @throws Error naming the key */
export function parseConfig(text: string): Said {
  const said = parseText(text);
  if (!isRecord(said)) expected('', 'object', said);
  configOf(said);
  const unknown = Object.keys(said).filter((key) => !Object.hasOwn(keys, key));
  if (unknown.length > 0)
    throw new Error(`unknown key${unknown.length === 1 ? '' : 's'} ${unknown.map((key) => `\`${key}\``).join(', ')}`);
  const named = membersOf(text).map(([key]) => key);
  const twice = named.find((key, index) => named.indexOf(key) < index);
  if (twice !== undefined) throw new Error(`\`${twice}\`: expected each key once, found it again`);
  return said;
}

/**
 * Parses what is said for one key where there is no room for JSON: a text as it is, a number in decimal digits, a list
 * with commas between its entries. @returns what it says, which is checked @throws Error naming the key
 */
export function parseKey(key: string, text: string): Said {
  const kind = Object.hasOwn(keys, key) ? keys[key as keyof typeof keys] : undefined;
  if (kind === undefined) throw new Error(`unknown key \`${key}\``);
  const said = { [key]: valueIn(text, kind.schema.type) };
  configOf(said);
  return said;
}

function valueIn(text: string, type: 'string' | 'number' | 'array'): unknown {
  // Neither an entry of a list nor a number has a comma in it.
  if (type === 'array') return text === '' ? [] : text.split(',');
  return type === 'number' && /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : text;
}
