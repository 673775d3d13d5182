import { environment } from '../system/environment.ts';
import { messageOf } from '../system/errors.ts';
import { tellLine } from '../system/stderr.ts';
import { endWithReader } from '../system/stdout-reader.ts';
import { megabytes } from '../text/megabytes.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { terminalOf } from '../text/terminal.ts';
import { compareDisks, type DiskDifference } from '../verify/compare-disks.ts';
import { inspectDisk, type Inspection } from '../verify/inspect-disk.ts';

/** As diff(1) has them. */
const SAME = 0;
const DIFFERENT = 1;
const TROUBLE = 2;

const METADATA = { deep: false, metadata: true } as const;

/** Prints what differs between two disks. @returns the exit status of diff(1): 0 the same, 1 different, 2 trouble */
export async function diff(a: string, b: string, options: { readonly json?: boolean }): Promise<number> {
  try {
    const [first, second] = [await inspectDisk(a, METADATA), await inspectDisk(b, METADATA)];
    const difference = compareDisks(first, second);
    const problems = [
      ...first.problems.map((problem) => `${a}: ${problem}`),
      ...second.problems.map((problem) => `${b}: ${problem}`),
    ];
    const exitStatus = problems.length > 0 ? TROUBLE : difference.same ? SAME : DIFFERENT;
    endWithReader({ gone: exitStatus, failed: TROUBLE });
    const short = terminalOf(process.stdout, environment()).columns !== undefined;
    process.stdout.write(
      options.json === true
        ? `${JSON.stringify({ a: about(a, first), b: about(b, second), ...difference }, undefined, 2)}\n`
        : describe({ path: a, disk: first }, { path: b, disk: second }, difference, short),
    );
    for (const problem of problems) tellLine(`docker-preloader: ${problem}`);
    return exitStatus;
  } catch (error) {
    tellLine(`docker-preloader: ${messageOf(error)}`);
    return TROUBLE;
  }
}

function about(path: string, { label, filesystem, format, sizeBytes, manifest }: Inspection): object {
  return { path, label, filesystem, format, sizeBytes, manifest: manifest?.digest ?? null };
}

interface NamedDisk {
  readonly path: string;
  readonly disk: Inspection;
}

/** One line for each thing that differs, with the signs of diff(1): `-` only on the first, `+` only on the second. */
function describe(a: NamedDisk, b: NamedDisk, difference: DiskDifference, short: boolean): string {
  const { images, tags, layers, bytes, blobs, common, same, signedBy } = difference;
  const digest = (text: string): string => (short ? text.replace(/^sha256:/, '').slice(0, 12) : text);
  const lines = [
    ...images.removed.map(({ id, references }) => `- image ${digest(id)} ${references.join(' ')}`),
    ...images.added.map(({ id, references }) => `+ image ${digest(id)} ${references.join(' ')}`),
    ...images.changed.map(
      (one) => `! image ${digest(one.id)}: manifest ${list(one.a, digest)} -> ${list(one.b, digest)}`,
    ),
    ...tags.removed.map(({ reference, id }) => `- tag ${reference} ${digest(id)}`),
    ...tags.added.map(({ reference, id }) => `+ tag ${reference} ${digest(id)}`),
    ...tags.moved.map((one) => `! tag ${one.reference} ${digest(one.a)} -> ${digest(one.b)}`),
    ...layers.removed.map(({ chainId, sizeBytes }) => `- layer ${digest(chainId)} ${megabytes(sizeBytes)}`),
    ...layers.added.map(({ chainId, sizeBytes }) => `+ layer ${digest(chainId)} ${megabytes(sizeBytes)}`),
    ...(blobs.a.bytes === blobs.b.bytes && blobs.a.count === blobs.b.count
      ? []
      : [`! blobs ${blobsOf(blobs.a)} -> ${blobsOf(blobs.b)}`]),
    ...(signedBy.a === signedBy.b ? [] : [`! signed by ${signedBy.a ?? 'nobody'} -> ${signedBy.b ?? 'nobody'}`]),
  ];
  const heads = same ? [] : [`--- ${headOf(a)}`, `+++ ${headOf(b)}`];
  const rest = !same && lines.length === 0 ? ['images, tags and layers are the same, and the manifests are not'] : [];
  const counted = `${plural(common.images, 'image')} and ${plural(common.layers, 'layer')} (${megabytes(bytes.common)}) on both`;
  const sum = same
    ? `the same: ${counted}`
    : `${counted}; ${plural(layers.removed.length, 'layer')} (${megabytes(bytes.removed)}) gone, ${plural(layers.added.length, 'layer')} (${megabytes(bytes.added)}) new`;
  return `${[...heads, ...lines, ...rest, sum].map((line) => oneLine(line).trimEnd()).join('\n')}\n`;
}

function headOf({ path, disk: { label, filesystem, sizeBytes, manifest } }: NamedDisk): string {
  const what = filesystem === null ? 'a folder' : `label ${label ?? ''}, ${filesystem}, ${megabytes(sizeBytes ?? 0)}`;
  return `${path}: ${what}, manifest ${manifest?.digest ?? 'none'}`;
}

function list(digests: readonly string[], shown: (digest: string) => string): string {
  return digests.length === 0 ? 'none' : digests.map(shown).join(' ');
}

function blobsOf({ count, bytes }: Inspection['blobs']): string {
  return count === 0 ? 'none' : `${count} (${megabytes(bytes)})`;
}
