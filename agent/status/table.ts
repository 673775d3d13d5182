import { styleText } from 'node:util';
import { megabytes } from '../system/megabytes.ts';
import { oneLine } from '../system/one-line.ts';
import { cutToWidth, paddingOf, widthOf, wrap, type Terminal } from '../system/terminal.ts';
import type { DiskStatus, ImageStatus, StatusDocument } from './schema.ts';

type Style = 'green' | 'yellow' | 'red' | 'bold';

/** A cell of a table; its style is put on once its width is known. */
interface Cell {
  readonly text: string;
  readonly style?: Style;
}

/** So many changes that wait are listed; the JSON has all. */
const MAX_PENDING = 10;
const MIN_COLUMN = 6;
const stateStyles = { ok: 'green', empty: 'yellow', degraded: 'yellow', failed: 'red' } as const;
const diskStyles = { 'in-use': 'green', pending: 'yellow', unused: 'yellow', refused: 'red', lost: 'red', missing: 'red' } as const;

/** The status as a person reads it. Names from disks are shown, whatever is in them, and never obeyed by the terminal. */
export function statusTable(status: StatusDocument, terminal: Terminal): string {
  const lines = (text: string, style?: Style): string[] => {
    const clean = oneLine(text);
    const all = terminal.columns === undefined ? [clean] : wrap(clean, terminal.columns, '  ');
    return all.map((line) => paint(line, style, terminal));
  };
  const { versions } = status;
  const facts = [
    status.phaseSince === '' ? '' : `${status.phase} since ${status.phaseSince}`,
    `agent ${versions.agent || status.version}, format ${versions.format || status.formatVersion}, dockerd ${versions.dockerd ?? 'unknown'}`,
    status.dataRoot === null ? '' : `store ${status.dataRoot}`,
  ].filter((fact) => fact !== '');
  return [
    ...lines(headline(status), stateStyles[status.state]),
    ...lines(facts.join('; ')),
    ...section(status.disks.map(diskRow), ['DISK', 'STATE', 'DEVICE', 'TYPE', 'SIZE', 'IMAGES', 'LAYERS', 'MOUNTED ON'], terminal),
    ...section(status.images.map(imageRow), ['IMAGE', 'ID', 'DISK', 'USABLE'], terminal),
    ...paragraph(status.findings.flatMap((finding) => lines(`${finding.code}: ${finding.message}`))),
    ...paragraph(pendingLines(status.pending).flatMap((line) => lines(line))),
    '',
  ].join('\n');
}

/** The summary without what is told below in full. */
function headline({ state, summary, findings }: StatusDocument): string {
  const told = findings.find((finding) => summary.startsWith(`${state}: ${oneLine(finding.message)}`));
  if (told === undefined) return summary;
  const rest = summary.slice(`${state}: ${oneLine(told.message)}`.length).replace(/^( \(and \d+ more\))?; /, '');
  return `${state}: ${rest}`;
}

function diskRow(disk: DiskStatus): Cell[] {
  const layers = disk.sharedLayers === 0 ? String(disk.layers) : `${disk.layers} (${disk.sharedLayers} shared)`;
  return [
    { text: disk.label },
    { text: disk.state === 'in-use' ? 'in use' : disk.state, style: diskStyles[disk.state] },
    { text: disk.device ?? '-' },
    { text: disk.filesystem ?? '-' },
    { text: disk.sizeBytes === null ? '-' : megabytes(disk.sizeBytes) },
    { text: String(disk.images) },
    { text: layers },
    disk.mountPoint === null && disk.error !== null ? { text: disk.error.code, style: 'red' } : { text: disk.mountPoint ?? '-' },
  ];
}

function imageRow(image: ImageStatus): Cell[] {
  const usable: Cell = image.usable ? { text: 'yes', style: 'green' } : { text: `no${image.code === null ? '' : `: ${image.code}`}`, style: image.code === 'PENDING' ? 'yellow' : 'red' };
  return [{ text: image.references.join(', ') || '<none>' }, { text: image.id.replace(/^sha256:/, '').slice(0, 12) }, { text: image.disk }, usable];
}

function pendingLines(pending: readonly string[]): string[] {
  const shown = pending.slice(0, MAX_PENDING).map((step) => `pending: ${step}`);
  return pending.length > MAX_PENDING ? [...shown, `pending: ${pending.length - MAX_PENDING} more; docker-preloader plan lists all`] : shown;
}

function paragraph(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}

function section(rows: readonly (readonly Cell[])[], header: readonly string[], terminal: Terminal): string[] {
  if (rows.length === 0) return [];
  const all = [header.map((text): Cell => ({ text, style: 'bold' })), ...rows.map((row) => row.map((cell) => ({ ...cell, text: oneLine(cell.text) })))];
  const widths = fit(header.map((_, column) => Math.max(...all.map((row) => widthOf(row[column]?.text ?? '')))), terminal.columns);
  return ['', ...all.map((row) => row.map((cell, column) => format(cell, widths[column] ?? 0, column === row.length - 1, terminal)).join('  ').trimEnd())];
}

/** Takes from the widest columns what does not fit into a line. */
function fit(widths: number[], columns: number | undefined): number[] {
  if (columns === undefined) return widths;
  const total = (): number => widths.reduce((sum, width) => sum + width, 2 * (widths.length - 1));
  while (total() > columns) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= MIN_COLUMN) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

function format({ text, style }: Cell, width: number, isLast: boolean, terminal: Terminal): string {
  const cut = cutToWidth(text, width);
  return paint(cut, style, terminal) + (isLast ? '' : paddingOf(cut, width));
}

function paint(text: string, style: Style | undefined, { color }: Terminal): string {
  // The terminal was looked at already: Node would look at its own stdout again.
  return style === undefined || !color ? text : styleText(style, text, { validateStream: false });
}
