import { door } from './door.ts';

/** agent/text/more-values.ts: the engine would look for each sign in a tenth of the time in which it reads the text as JSON. */
export function mayHaveMoreValues(text: string, most: number): boolean {
  return door.countStarts(text) > most;
}
