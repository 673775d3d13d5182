/** Pages of a file, one behind the other. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

/**
 * Reads what is in first-reads.ts: of each range, how many pages lie between it and the one before, and its own number,
 * both to the base of 36. The last one has no number: it goes to the file's end.
 * @param end number of pages in the file
 */
export function rangesOf(text: string, end: number): PageRange[] {
  const numbers = text
    .trim()
    .split(/\s+/)
    .map((word) => Number.parseInt(word, 36));
  const ranges: PageRange[] = [];
  for (let at = 0, index = 0; index < numbers.length; index += 2) {
    const first = at + (numbers[index] ?? 0);
    at = Math.min(first + (numbers[index + 1] ?? end), end);
    if (at > first) ranges.push({ first, count: at - first });
  }
  return ranges;
}
