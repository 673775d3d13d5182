import { isRecord } from '../text/is-record.ts';
import { membersOf } from '../text/json-members.ts';
import { parseText } from '../text/parse-json.ts';
import { expected } from '../text/shape.ts';
import { configOf, type Config } from './config.ts';
import { keys } from './keys.ts';

/** Parses the text of a configuration file. @throws Error naming the key */
export function parseConfig(text: string): Config {
  const said = parseText(text);
  if (!isRecord(said)) expected('', 'object', said);
  const config = configOf(said);
  const unknown = Object.keys(said).filter((key) => !Object.hasOwn(keys, key));
  if (unknown.length > 0)
    throw new Error(`unknown key${unknown.length === 1 ? '' : 's'} ${unknown.map((key) => `\`${key}\``).join(', ')}`);
  const named = membersOf(text).map(([key]) => key);
  const twice = named.find((key, index) => named.indexOf(key) < index);
  if (twice !== undefined) throw new Error(`\`${twice}\`: expected each key once, found it again`);
  return config;
}
