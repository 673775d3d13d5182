import { door } from './door.ts';

/** agent/text/strict-json.ts by the door, which checks a text before the engine's own parser gets it. */
export function parseStrictly(text: string): unknown {
  return door.parseJson(text);
}
