/** Text of this size is not questioned. */
const FREE_BYTES = 1024 * 1024;
/** More than the longest documents that there are: `[[]]` takes a hundred times as much memory as text. */
const MAX_VALUES = 500_000;
const STARTS = ['[', '{', ','];

/** Parses JSON that a disk has. @throws Error also where it would take much more memory than its text */
export function parseUntrusted(text: string): unknown {
  if (text.length > FREE_BYTES && hasMoreValues(text))
    throw new Error(`expected JSON with at most ${MAX_VALUES} values, found more`);
  return JSON.parse(text);
}

/** Whether it may have more than are taken: it has at most as many as of these signs, which the runtime looks for by itself. */
function hasMoreValues(text: string): boolean {
  let count = 0;
  for (const sign of STARTS)
    for (let at = text.indexOf(sign); at !== -1; at = text.indexOf(sign, at + 1)) {
      count += 1;
      if (count > MAX_VALUES) return true;
    }
  return false;
}
