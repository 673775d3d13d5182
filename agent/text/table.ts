import { styleText } from 'node:util';
import { oneLine } from './one-line.ts';
import { cutToWidth, paddingOf, widthOf, wrap, type Terminal } from './terminal.ts';

export type Style = 'green' | 'yellow' | 'red' | 'bold';

/** A cell of a table. Its style is applied after its width is known. */
export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

export interface Column {
  readonly title: string;
  /**
   * How useful the column is. On a narrow terminal the least useful columns are left out first; without a number, it
   * never is.
   */
  readonly use?: number;
  /** The width to which it may be cut before a more useful column is left out. Without a number, it is not cut. */
  readonly least?: number;
  /** Whether to keep the end when cutting: the end of a path says more. */
  readonly keepEnd?: boolean;
}

const GAP = 2;
/** The least width of a column when even the columns that are never left out do not fit. */
const LEAST = 6;

/**
 * An empty line and then the lines of a table, with its header first; nothing if it has no rows. On a terminal they fit
 * the width: the least useful columns are cut, then left out. Elsewhere, everything is printed. Whatever names contain,
 * they are shown and never obeyed by the terminal.
 */
export function tableSection(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  terminal: Terminal,
): string[] {
  if (rows.length === 0) return [];
  const all = [
    columns.map(({ title }): Cell => ({ text: title, style: 'bold' })),
    ...rows.map((row) => row.map((cell) => ({ ...cell, text: oneLine(cell.text) }))),
  ];
  const places = columns.map((column, index) => ({
    column,
    index,
    width: Math.max(...all.map((row) => widthOf(row[index]?.text ?? ''))),
  }));
  const shown = fit(places, terminal.columns);
  return [
    '',
    ...all.map((row) =>
      shown
        .map(({ column, index, width }, place) =>
          format(row[index] ?? { text: '' }, width, { ...column, isLast: place === shown.length - 1 }, terminal),
        )
        .join(' '.repeat(GAP))
        .trimEnd(),
    ),
  ];
}

interface Place {
  readonly column: Column;
  readonly index: number;
  readonly width: number;
}

const totalOf = (places: readonly Place[]): number =>
  places.reduce((sum, { width }) => sum + width, GAP * (places.length - 1));
const useOf = ({ column }: Place): number => column.use ?? Infinity;

function fit(places: readonly Place[], columns: number | undefined): readonly Place[] {
  if (columns === undefined) return places;
  const leastOf = ({ column, width }: Place): number => Math.min(width, column.least ?? width);
  let left = places;
  for (;;) {
    const cut = cutDown(left, columns, leastOf);
    if (totalOf(cut) <= columns) return cut;
    const [useless] = left.toSorted((a, b) => useOf(a) - useOf(b));
    if (useless === undefined || useOf(useless) === Infinity) return cutEvenly(cut, columns);
    left = left.filter((place) => place !== useless);
  }
}

/** Cuts columns until they fit, the least useful ones first, and none below its least width. */
function cutDown(places: readonly Place[], columns: number, leastOf: (place: Place) => number): readonly Place[] {
  let over = totalOf(places) - columns;
  const widths = new Map(places.map((place) => [place.index, place.width]));
  for (const place of places.toSorted((a, b) => useOf(a) - useOf(b))) {
    const taken = Math.max(0, Math.min(over, place.width - leastOf(place)));
    widths.set(place.index, place.width - taken);
    over -= taken;
  }
  return places.map((place) => ({ ...place, width: widths.get(place.index) ?? place.width }));
}

/**
 * Cuts the widest of the remaining columns: those that may be cut at all, and then, if they are not enough, all others.
 */
function cutEvenly(places: readonly Place[], columns: number): readonly Place[] {
  let cut = places;
  for (const mayCut of [({ column }: Place): boolean => column.least !== undefined, (): boolean => true]) {
    while (totalOf(cut) > columns) {
      const widest = Math.max(0, ...cut.filter(mayCut).map(({ width }) => width));
      if (widest <= LEAST) break;
      const at = cut.findIndex((place) => mayCut(place) && place.width === widest);
      cut = cut.map((place, index) => (index === at ? { ...place, width: widest - 1 } : place));
    }
  }
  return cut;
}

function format(
  { text, style }: Cell,
  width: number,
  { keepEnd, isLast }: Column & { readonly isLast: boolean },
  terminal: Terminal,
): string {
  const cut = cutToWidth(text, width, keepEnd === true ? 'start' : 'end');
  return paint(cut, style, terminal) + (isLast ? '' : paddingOf(cut, width));
}

/**
 * The lines of a text between tables, wrapped to the width of the terminal. As in tables, characters that a terminal
 * would obey are shown.
 */
export function wrapped(text: string, { columns }: Terminal): string[] {
  const clean = oneLine(text);
  return columns === undefined ? [clean] : wrap(clean, columns, '  ');
}

/** A text in a style, if the terminal has colours. */
export function paint(text: string, style: Style | undefined, { color }: Terminal): string {
  // The terminal was examined already; Node would examine its own stdout again.
  return style === undefined || !color ? text : styleText(style, text, { validateStream: false });
}
