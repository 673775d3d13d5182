import { parseText } from './parse-json.ts';
import { checkShape, objectOf } from './shape.ts';
import { parseStrictly } from './strict-json.ts';

/**
 * The members of an object in their order, also those of one name. What follows the object is left out: dockerd
 * 20.10 decodes the first value of a stream, and newer ones do not start with more.
 */
export function membersOf(json: string): [key: string, value: unknown][] {
  if (json === '') return [];
  const members: [name: string, value: string][] = [];
  let depth = 0;
  let start = 0;
  let key = '""';
  let end = json.length;
  for (const { 0: token, index } of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/g)) {
    const isEnd = depth === 1 && (token === ',' || token === '}');
    if (isEnd && start > 0) members.push([key, json.slice(start, index)]);
    if (isEnd) start = 0;
    if (depth === 1 && start === 0 && token.startsWith('"')) key = token;
    if (depth === 1 && start === 0 && token === ':') start = index + 1;
    if (token === '{' || token === '[') depth += 1;
    if (token === '}' || token === ']') depth -= 1;
    if (depth === 0) {
      end = index + 1;
      break;
    }
  }
  // Its grammar, before what was found in it is taken for anything.
  const whole: unknown = parseText(json.slice(0, end));
  if (whole === null) return [];
  checkShape(whole, objectOf({}));
  return members.map(([name, value]) => [String(parseStrictly(name)), parseStrictly(value)]);
}
