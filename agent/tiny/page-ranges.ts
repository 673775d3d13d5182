/** Successive pages of a file. */
export interface PageRange {
  readonly first: number;
  readonly count: number;
}

/**
 * Parses what is in first-reads.ts. For each range, that is the number of pages between it and the one before, and how
 * many pages it has, both in base 36. The last one has no length, because it goes to the file's end.
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
