const STARTS = ['[', '{', ','];

/**
 * Whether JSON may have more values than so many: it has at most as many as of these signs, which the runtime looks for by
 * itself. Where it does that sign by sign, this is another file.
 */
export function mayHaveMoreValues(text: string, most: number): boolean {
  let count = 0;
  for (const sign of STARTS)
    for (let at = text.indexOf(sign); at !== -1; at = text.indexOf(sign, at + 1)) {
      count += 1;
      if (count > most) return true;
    }
  return false;
}
