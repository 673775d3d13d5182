import { styleText } from 'node:util';
import { oneLine } from './one-line.ts';
import { cutToWidth, paddingOf, widthOf, wrap, type Terminal } from './terminal.ts';

export type Style = 'green' | 'yellow' | 'red' | 'bold';

/** A cell of a table; its style is put on once its width is known. */
export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

export interface Column {
  readonly title: string;
  /** The sooner it is left out on a narrow terminal, the lower; without a number it is never left out. */
  readonly use?: number;
  /** It may be cut to so many cells before anything of more use is left out; without a number it is not. */
  readonly least?: number;
  /** Of a path, the end tells more. */
  readonly keepEnd?: boolean;
}

const GAP = 2;
/** Where even what is never left out does not fit. */
const LEAST = 6;

/**
 * An empty line and the lines of a table, its header first; nothing where it has no rows. On a terminal they fit: columns of
 * the least use are cut, then left out; elsewhere all is there. Names are shown, whatever is in them, and never obeyed by
 * the terminal.
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

/** Takes from columns what does not fit, from those of the least use first, and from none more than it can give. */
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

/** Takes from the widest of those that are left. */
function cutEvenly(places: readonly Place[], columns: number): readonly Place[] {
  let cut = places;
  while (totalOf(cut) > columns) {
    const widest = Math.max(...cut.map(({ width }) => width));
    if (widest <= LEAST) break;
    const at = cut.findIndex(({ width }) => width === widest);
    cut = cut.map((place, index) => (index === at ? { ...place, width: widest - 1 } : place));
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

/** The lines of a text between tables, as wide as the terminal; shown, whatever is in it, as names in a table are. */
export function wrapped(text: string, { columns }: Terminal): string[] {
  const clean = oneLine(text);
  return columns === undefined ? [clean] : wrap(clean, columns, '  ');
}

/** A text in a style, where the terminal has colours. */
export function paint(text: string, style: Style | undefined, { color }: Terminal): string {
  // The terminal was looked at already: Node would look at its own stdout again.
  return style === undefined || !color ? text : styleText(style, text, { validateStream: false });
}
