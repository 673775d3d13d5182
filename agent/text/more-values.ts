const STARTS = ['[', '{', ','];

/**
 * Whether JSON may have more than this many values. It has at most as many as it has of these signs, which the runtime
 * finds fast. The small engine is slow at that, and has another file for it.
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
