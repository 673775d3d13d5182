import { inspectDisk, type Inspection } from '../builder/inspect-disk.ts';
import { oneLine } from '../system/one-line.ts';
import { plural } from '../system/plural.ts';
import { makeProgress } from '../builder/progress.ts';
import { megabytes } from '../system/megabytes.ts';

/** Prints what is on a disk. @returns the exit status: 1 where something on it is wrong */
export async function inspect(disk: string, options: { readonly json?: boolean; readonly deep?: boolean }): Promise<number> {
  // Layer by layer on a terminal only: elsewhere the result is enough.
  const progress = makeProgress(process.stderr, !process.stderr.isTTY);
  const found = await inspectDisk(disk, options.deep === true, (text) => progress.step(text)).finally(() => progress.end());
  process.stdout.write(options.json === true ? `${JSON.stringify(found, undefined, 2)}\n` : describe(found));
  if (options.json !== true) for (const problem of found.problems) process.stderr.write(`docker-preloader: ${disk}: ${oneLine(problem)}\n`);
  return found.problems.length === 0 ? 0 : 1;
}

function describe(found: Inspection): string {
  const { manifest } = found;
  const lines = [
    found.filesystem === null ? 'a folder' : `label ${found.label ?? ''}, ${found.filesystem} in ${found.format}, ${megabytes(found.sizeBytes ?? 0)}`,
    manifest === null ? 'no manifest: a dockerd filled this disk' : `manifest ${manifest.digest}, format ${manifest.formatVersion}, priority ${manifest.priority}, by ${manifest.createdBy}`,
    ...(found.readAhead === null ? [] : [`read ahead after boot: ${megabytes(found.readAhead.bytes)} of ${plural(found.readAhead.files, 'file')}`]),
    ...(manifest?.bases ?? []).map((base) => `stands on ${base.label} (${base.manifest}): ${plural(base.layers.length, 'layer')}`),
    '',
    ...found.images.flatMap((image) => [
      `image ${image.id}: ${plural(image.layers.length, 'layer')}, ${megabytes(image.sizeBytes)} here`,
      ...image.references.map((reference) => `  ${reference}`),
    ]),
    '',
    ...found.layers.map((layer) => `layer ${layer.chainId}: ${megabytes(layer.sizeBytes)}, in ${plural(layer.usedBy, 'image')}`),
    '',
    `${plural(found.images.length, 'image')}, ${plural(found.layers.length, 'layer')}, ${megabytes(found.sharedBytes)} of them shared${found.deep ? `, contents compared with their digests: ${found.problems.length === 0 ? 'right' : 'wrong'}` : ''}`,
  ];
  // Names on a disk may be anything.
  return `${lines.map(oneLine).join('\n')}\n`;
}
