/** What the destination of the output can show. */
export interface Terminal {
  /** The number of cells in a line, or undefined if lines may have any length. */
  readonly columns: number | undefined;
  readonly color: boolean;
}

const DEFAULT_COLUMNS = 80;

/** A terminal has a width, and colours unless NO_COLOR (no-color.org) is set. A pipe or a file has neither. */
export function terminalOf(
  stream: Pick<NodeJS.WriteStream, 'isTTY' | 'columns'>,
  env: Readonly<Record<string, string | undefined>>,
): Terminal {
  if (!stream.isTTY) return { columns: undefined, color: false };
  const columns = stream.columns > 0 ? stream.columns : DEFAULT_COLUMNS;
  return { columns, color: (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb' };
}

const segmenter = new Intl.Segmenter();
/**
 * Characters that are two cells wide: East Asian Wide and Fullwidth (Unicode, UAX #11), approximated by scripts and
 * emoji.
 */
const WIDE =
  /^[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]|\ufe0f/u;
const EMPTY = /^[\p{M}\p{Cf}]+$/u;

/** How many cells of a terminal a text without control characters takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += segmentWidth(segment);
  return width;
}

function segmentWidth(segment: string): number {
  return EMPTY.test(segment) ? 0 : WIDE.test(segment) ? 2 : 1;
}

/** Cuts a text to a number of cells, at its end or its start. An ellipsis stands for what is left out. */
export function cutToWidth(text: string, width: number, at: 'start' | 'end' = 'end'): string {
  if (widthOf(text) <= width) return text;
  const segments = [...segmenter.segment(text)].map(({ segment }) => segment);
  if (at === 'start') segments.reverse();
  const kept: string[] = [];
  let used = 1;
  for (const segment of segments) {
    used += segmentWidth(segment);
    if (used > width) break;
    kept.push(segment);
  }
  return at === 'start' ? `…${kept.toReversed().join('')}` : `${kept.join('')}…`;
}

/** The spaces that pad a text to a number of cells. */
export function paddingOf(text: string, width: number): string {
  return ' '.repeat(Math.max(0, width - widthOf(text)));
}

/**
 * Breaks a text between words into lines of at most this many cells. A longer word gets a line of its own and stays
 * whole.
 */
export function wrap(text: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line.trim() === '' || widthOf(longer) <= width) line = longer;
    else {
      lines.push(line);
      line = `${indent}${word}`;
    }
  }
  return [...lines, line];
}
