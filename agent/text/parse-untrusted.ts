/** Text of this size is not questioned. */
const FREE_BYTES = 1024 * 1024;
/** More than the longest documents that there are: `[[]]` takes a hundred times as much memory as text. */
const MAX_VALUES = 500_000;
const STARTS: ReadonlySet<number> = new Set(['[', '{', ','].map((sign) => sign.charCodeAt(0)));

/** Parses JSON that a disk has. @throws Error also where it would take much more memory than its text */
export function parseUntrusted(text: string): unknown {
  if (text.length > FREE_BYTES && valuesIn(text) > MAX_VALUES)
    throw new Error(`expected JSON with at most ${MAX_VALUES} values, found more`);
  return JSON.parse(text);
}

/** At least as many as there are. */
function valuesIn(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index += 1) if (STARTS.has(text.charCodeAt(index))) count += 1;
  return count;
}
