import { mayHaveMoreValues } from './more-values.ts';
import { parseStrictly } from './strict-json.ts';

/** Text of this size is not questioned. */
const FREE_BYTES = 1024 * 1024;
/** More than the longest documents that there are: `[[]]` takes a hundred times as much memory as text. */
const MAX_VALUES = 500_000;

/** Parses JSON that a disk has. @throws Error also where it would take much more memory than its text */
export function parseUntrusted(text: string): unknown {
  if (text.length > FREE_BYTES && mayHaveMoreValues(text, MAX_VALUES))
    throw new Error(`expected JSON with at most ${MAX_VALUES} values, found more`);
  return parseStrictly(text);
}
