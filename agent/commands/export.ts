import { isatty } from 'node:tty';
import { exportImage } from '../builder/export/export-image.ts';
import { refuseInputAsOutput } from '../builder/inputs.ts';
import { TO_STDOUT } from '../builder/workplace.ts';
import { processMs } from '../system/clock.ts';
import { isStdoutClosed } from '../system/copy-to-stdout.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { makeProgress } from '../text/progress.ts';
import type { Refuse } from './build-options.ts';

export interface ExportArguments {
  readonly output?: string;
  readonly base?: readonly string[];
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const STDOUT = 1;

/** Gives an image of a disk back. @returns the exit status: 3 if a digest that went in cannot be given back */
export async function exportFromDisk(
  disk: string,
  image: string,
  options: ExportArguments,
  refuse: Refuse,
): Promise<number> {
  const { output, base = [], json = false } = options;
  if (output === undefined || output === '') return refuse('-o, --output ARCHIVE: expected a file, or -, found none');
  if (output === TO_STDOUT && (json || isStdoutClosed() || isatty(STDOUT)))
    return refuse(
      `-o -: expected a file or a pipe as standard output, found ${json ? '--json, which goes there' : isStdoutClosed() ? 'it closed' : 'a terminal'}`,
    );
  refuseInputAsOutput(output, [
    { role: 'the disk', path: disk },
    ...base.map((path) => ({ role: 'the base disk', path })),
  ]);
  const progress = makeProgress(stderr, options.quiet === true, processMs);
  const { id, references, digest, lost, lostLayers, layers } = await exportImage(disk, image, output, base, progress);
  const where = output === TO_STDOUT ? 'standard output' : output;
  const text = json
    ? JSON.stringify({ output, id, references, digest, lost: lost ?? null, layers, lostLayers }, undefined, 2)
    : oneLine(
        `${where}: ${references.join(', ') || 'no name'}, ${plural(layers, 'layer')}, ID ${id}, manifest ${digest}`,
      );
  (output === TO_STDOUT ? stderr : process.stdout).write(`${text}\n`);
  if (lost === undefined) return 0;
  tellLine(
    `docker-preloader: ${where}: the manifest ${lost} cannot be given back: ${lostLayers} of ${plural(layers, 'layer')} came compressed, and the disk has not kept ${lostLayers === 1 ? 'it' : 'them'} so (build --blobs keep does); ID and DiffIDs are the same`,
  );
  return 3;
}
