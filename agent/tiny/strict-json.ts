import { door } from './door.ts';

/** agent/text/strict-json.ts by the door, which looks at a text before the engine's own parser does. */
export function parseStrictly(text: string): unknown {
  return door.parseJson(text);
}
