import { megabytes } from '../text/megabytes.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { paint, tableSection, wrapped, type Cell, type Column, type Style } from '../text/table.ts';
import type { Terminal } from '../text/terminal.ts';
import type { DiskStatus, ImageStatus, StatusDocument, StoreStatus } from './schema.ts';

/** How many pending changes are listed; the JSON has all of them. */
const MAX_PENDING = 10;
const stateStyles = { ok: 'green', empty: 'yellow', degraded: 'yellow', failed: 'red' } as const;
const diskColumns: readonly Column[] = [
  { title: 'DISK' },
  { title: 'STATE' },
  { title: 'DEVICE', use: 6 },
  { title: 'TYPE', use: 1 },
  { title: 'SIZE', use: 3 },
  { title: 'IMAGES', use: 5 },
  { title: 'LAYERS', use: 4 },
  // Cut first, because the folder is named after the disk, and the findings say more than a code.
  { title: 'MOUNTED ON', use: 2, least: 16, keepEnd: true },
];
const imageColumns: readonly Column[] = [
  { title: 'IMAGE', least: 20 },
  { title: 'ID', use: 1 },
  { title: 'DISK' },
  { title: 'USABLE' },
];
const storeColumns: readonly Column[] = [
  { title: 'STORE' },
  { title: 'STATE' },
  { title: 'IMAGES', use: 1 },
  { title: 'WHERE', least: 16, keepEnd: true },
];
const storeStyles = { 'in-use': 'green', pending: 'yellow', waiting: 'yellow', failed: 'red' } as const;
const diskStyles = {
  'in-use': 'green',
  pending: 'yellow',
  unused: 'yellow',
  refused: 'red',
  lost: 'red',
  missing: 'red',
} as const;

/** The status for people. Whatever names from disks contain, they are shown and never obeyed by the terminal. */
export function statusTable(status: StatusDocument, terminal: Terminal): string {
  const lines = (text: string, style?: Style): string[] =>
    wrapped(text, terminal).map((line) => paint(line, style, terminal));
  const { versions } = status;
  const facts = [
    status.phaseSince === '' ? '' : `${status.phase} since ${status.phaseSince}`,
    `agent ${versions.agent || status.version}, format ${versions.format || status.formatVersion}, dockerd ${versions.dockerd ?? 'unknown'}`,
    status.dataRoot === null ? '' : `store ${status.dataRoot}`,
  ].filter((fact) => fact !== '');
  return [
    ...lines(headline(status), stateStyles[status.state]),
    ...lines(facts.join('; ')),
    ...diskSection(status.disks, terminal),
    // One store needs no table.
    ...(status.stores.some(({ store }) => store !== 'overlay2')
      ? tableSection(storeColumns, status.stores.map(storeRow), terminal)
      : []),
    ...tableSection(imageColumns, status.images.map(imageRow), terminal),
    ...paragraph(status.findings.flatMap((finding) => lines(`${finding.code}: ${finding.message}`))),
    ...paragraph(pendingLines(status.pending).flatMap((line) => lines(line))),
    '',
  ].join('\n');
}

/** The summary without the parts that follow in full below. */
function headline({ state, summary, findings }: StatusDocument): string {
  const told = findings.find((finding) => summary.startsWith(`${state}: ${oneLine(finding.message)}`));
  if (told === undefined) return summary;
  const rest = summary.slice(`${state}: ${oneLine(told.message)}`.length).replace(/^( \(and \d+ more\))?; /, '');
  return `${state}: ${rest}`;
}

/** The disks. A column says who has signed them, if any had to be signed. */
function diskSection(disks: readonly DiskStatus[], terminal: Terminal): string[] {
  const isSigned = disks.some(({ signedBy }) => signedBy !== null);
  return tableSection(
    isSigned ? [...diskColumns, { title: 'SIGNED BY', use: 0, least: 16 }] : diskColumns,
    disks.map((disk) => [...diskRow(disk), ...(isSigned ? [{ text: disk.signedBy ?? '-' }] : [])]),
    terminal,
  );
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
    disk.mountPoint === null && disk.error !== null
      ? { text: disk.error.code, style: 'red' }
      : { text: disk.mountPoint ?? '-' },
  ];
}

function storeRow({ store, namespace, state, images, place, version }: StoreStatus): Cell[] {
  return [
    { text: namespace === null ? store : `${store}${version === null ? '' : ` ${version}`}, ${namespace}` },
    { text: state === 'in-use' ? 'in use' : state, style: storeStyles[state] },
    { text: String(images) },
    { text: place },
  ];
}

function imageRow(image: ImageStatus): Cell[] {
  const { references, dockerReferences } = image;
  // An older daemon does not send them.
  const names = references.filter((name) => dockerReferences === null || dockerReferences.includes(name)).length;
  const yes: Cell =
    names === references.length
      ? { text: 'yes', style: 'green' }
      : { text: `yes: ${names} of ${plural(references.length, 'name')}`, style: 'yellow' };
  const usable: Cell = image.usable
    ? yes
    : { text: `no${image.code === null ? '' : `: ${image.code}`}`, style: image.code === 'PENDING' ? 'yellow' : 'red' };
  return [
    { text: image.references.join(', ') || '<none>' },
    { text: image.id.replace(/^sha256:/, '').slice(0, 12) },
    { text: image.disk },
    usable,
  ];
}

function pendingLines(pending: readonly string[]): string[] {
  const shown = pending.slice(0, MAX_PENDING).map((step) => `pending: ${step}`);
  return pending.length > MAX_PENDING
    ? [...shown, `pending: ${pending.length - MAX_PENDING} more; docker-preloader plan lists all`]
    : shown;
}

function paragraph(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}
