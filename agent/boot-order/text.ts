import { oneLine } from '../text/one-line.ts';
import { cutToWidth, paddingOf, widthOf, type Terminal } from '../text/terminal.ts';
import type { BootDocument } from './boot-document.ts';
import type { Fault } from './fault.ts';
import { duration, offset } from './format.ts';
import type { Timeline, TimelineEntry } from './timeline.ts';

const MIN_LAST_COLUMN = 16;

/** The boot order for people: a table, the critical path, and what is wrong. */
export function describeTimeline(
  document: BootDocument,
  { originUsec, entries, criticalPath }: Timeline,
  faults: readonly Fault[],
  terminal: Terminal,
): string {
  const row = (entry: TimelineEntry, name: string): string[] => [
    entry.critical ? '*' : '',
    offset(entry.startUsec - originUsec),
    entry.endUsec > entry.startUsec ? duration(entry.endUsec - entry.startUsec) : '',
    name,
    entry.waitedFor ?? '',
  ];
  const last = criticalPath.at(-1);
  const lines = [
    ...table(
      [
        ['', 'OFFSET', 'DURATION', 'STEP', 'WAITED FOR'],
        ...entries.map((entry) => row(entry, entry.of === undefined ? entry.name : `  ${entry.name}`)),
      ],
      terminal,
    ),
    '',
    last === undefined
      ? 'docker.service has not been started in this boot'
      : `Critical path to docker.service, up at ${offset(last.endUsec - originUsec)}:`,
    ...table(
      criticalPath.map((entry) => row({ ...entry, critical: false }, entry.name)),
      terminal,
    ),
    ...(document.notes.length === 0 ? [] : ['', ...document.notes.map((note) => `not known: ${oneLine(note)}`)]),
    ...(faults.length === 0 ? [] : ['', ...faults.map(describeFault)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** A fault in one line, with the command that repairs it. */
export function describeFault({ code, message, mend }: Fault): string {
  return oneLine(`${code}: ${message}; type: ${mend}`);
}

/**
 * Cells in columns. The second and third are aligned to the right, and the last is cut at the width of the terminal.
 */
function table(rows: readonly (readonly string[])[], { columns, color }: Terminal): string[] {
  const clean = rows.map((row) => row.map(oneLine));
  const widths = [0, 1, 2, 3].map((column) => Math.max(0, ...clean.map((row) => widthOf(row[column] ?? ''))));
  const fixed = (widths[0] ?? 0) + (widths[1] ?? 0) + (widths[2] ?? 0) + 8;
  // On a narrow terminal, the step gets the room that the reason can spare.
  if (columns !== undefined)
    widths[3] = Math.max(MIN_LAST_COLUMN, Math.min(widths[3] ?? 0, columns - fixed - MIN_LAST_COLUMN));
  return clean.map(([mark = '', start = '', took = '', name = '', reason = ''], index) => {
    const step = cutToWidth(name, widths[3] ?? 0);
    const cells = [
      mark.padEnd(widths[0] ?? 0),
      start.padStart(widths[1] ?? 0),
      took.padStart(widths[2] ?? 0),
      `${step}${paddingOf(step, widths[3] ?? 0)}`,
    ].filter((_, column) => widths[column] !== 0);
    const text = [...cells, reason].join('  ').trimEnd();
    const line = columns === undefined ? text : cutToWidth(text, columns);
    if (!color) return line;
    if (index === 0 && mark === '' && start === 'OFFSET') return `\u001B[1m${line}\u001B[0m`;
    return mark === '*' ? `\u001B[33m${line}\u001B[0m` : line;
  });
}
