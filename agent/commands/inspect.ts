import type { Refuse } from './build-options.ts';
import { parseTrustedKey } from '../config/trusted-key.ts';
import { SMALL_FILE_BYTES } from '../disk/limits.ts';
import { messageOf, noSuchFile, shownPath } from '../system/errors.ts';
import { readUntrusted } from '../system/read-files.ts';
import { processMs } from '../system/clock.ts';
import { environment } from '../system/environment.ts';
import { inspectDisk, type Inspection } from '../verify/inspect-disk.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { makeProgress } from '../text/progress.ts';
import { megabytes } from '../text/megabytes.ts';
import { plural } from '../text/plural.ts';
import { tableSection, wrapped, type Cell, type Column } from '../text/table.ts';
import { terminalOf, type Terminal } from '../text/terminal.ts';

export interface InspectOptions {
  readonly json?: boolean;
  readonly deep?: boolean;
  readonly trustedKey?: readonly string[];
}

/** Prints what is on a disk. @returns the exit status: 1 if something on it is wrong */
export async function inspect(disk: string, options: InspectOptions, refuse: Refuse): Promise<number> {
  const trustedKeys = (options.trustedKey ?? []).map((file) => readKey(file, refuse));
  // Progress for each layer is shown only on a terminal. Elsewhere, the result is enough.
  const progress = makeProgress(stderr, !stderr.isTTY, processMs);
  const found = await inspectDisk(disk, {
    deep: options.deep === true,
    onStep: (text) => progress.step(text),
    ...(trustedKeys.length === 0 ? {} : { trustedKeys }),
  }).finally(() => progress.end());
  process.stdout.write(
    options.json === true
      ? `${JSON.stringify(found, undefined, 2)}\n`
      : inspectionTable(found, terminalOf(process.stdout, environment())),
  );
  if (options.json !== true) for (const problem of found.problems) tellLine(`docker-preloader: ${disk}: ${problem}`);
  return found.problems.length === 0 ? 0 : 1;
}

/** A .pub file has one line. */
function readKey(file: string, refuse: Refuse): string {
  try {
    const line = readUntrusted(file, SMALL_FILE_BYTES)
      ?.toString('utf8')
      .replace(/\r?\n$/, '');
    if (line === undefined) throw new Error(`${shownPath(file)}: expected a .pub file, found ${noSuchFile(file)}`);
    const key = parseTrustedKey(line);
    if (key === undefined)
      throw new Error(`${file}: expected the .pub file of an Ed25519 key: ssh-ed25519 AAAA…, found something else`);
    return key;
  } catch (error) {
    return refuse(`--trusted-key: ${messageOf(error)}`);
  }
}

const imageColumns: readonly Column[] = [
  { title: 'IMAGE', least: 20 },
  { title: 'ID', use: 1 },
  { title: 'LAYERS', use: 2 },
  { title: 'SIZE HERE' },
];
const imageColumnsWithBlobs = imageColumns.toSpliced(3, 0, { title: 'BLOBS', use: 3 });
const layerColumns: readonly Column[] = [{ title: 'LAYER' }, { title: 'SIZE' }, { title: 'IMAGES', use: 1 }];

/** What is on a disk, for people. Digests are shortened only on a terminal. */
export function inspectionTable(found: Inspection, terminal: Terminal): string {
  const { manifest } = found;
  const digest = (text: string): string =>
    terminal.columns === undefined ? text : text.replace(/^sha256:/, '').slice(0, 12);
  const facts = [
    found.filesystem === null
      ? 'a folder'
      : `label ${found.label ?? ''}, ${found.filesystem} in ${found.format}, ${megabytes(found.sizeBytes ?? 0)}`,
    manifest === null
      ? 'no manifest: a dockerd filled this disk'
      : `manifest ${manifest.digest}, format ${manifest.formatVersion}, priority ${manifest.priority}, by ${manifest.createdBy}`,
    ...(found.signature === null ? [] : [`signed by ${found.signature.fingerprint}`]),
    ...(found.readAhead === null
      ? []
      : [`read ahead after boot: ${megabytes(found.readAhead.bytes)} of ${plural(found.readAhead.files, 'file')}`]),
    ...(found.blobs.count === 0
      ? []
      : [`for containerd's store: ${megabytes(found.blobs.bytes)} in ${plural(found.blobs.count, 'blob')} of layers`]),
    ...(manifest?.bases ?? []).map(
      (base) => `stands on ${base.label} (${base.manifest}): ${plural(base.layers.length, 'layer')}`,
    ),
  ];
  // Like `docker images`, this has a line for each name.
  const images = found.images.flatMap((image) =>
    (image.references.length === 0 ? ['<none>'] : image.references).map((name) =>
      cells(
        name,
        digest(image.id),
        String(image.layers.length),
        ...(found.blobs.count === 0 ? [] : [blobsOf(image)]),
        megabytes(image.sizeBytes),
      ),
    ),
  );
  const layers = found.layers.map((layer) =>
    cells(digest(layer.chainId), megabytes(layer.sizeBytes), String(layer.usedBy)),
  );
  const sum = `${plural(found.images.length, 'image')}, ${plural(found.layers.length, 'layer')}, ${megabytes(found.sharedBytes)} of them shared${found.deep ? `, contents compared with their digests: ${found.problems.length === 0 ? 'right' : 'wrong'}` : ''}`;
  return [
    ...facts.flatMap((fact) => wrapped(fact, terminal)),
    ...tableSection(found.blobs.count === 0 ? imageColumns : imageColumnsWithBlobs, images, terminal),
    ...tableSection(layerColumns, layers, terminal),
    '',
    ...wrapped(sum, terminal),
    '',
  ].join('\n');
}

/** How many of an image's layers have a blob here: the most that one of its manifests has. */
function blobsOf({ targets }: Inspection['images'][number]): string {
  return String(Math.max(0, ...targets.map(({ blobs }) => blobs.filter((blob) => blob !== null).length)));
}

function cells(...texts: readonly string[]): Cell[] {
  return texts.map((text) => ({ text }));
}
