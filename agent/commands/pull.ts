import { lstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { checkRegistryName } from '../builder/container-disk/registry-name.ts';
import { pullDisk } from '../builder/container-disk/pull-disk.ts';
import { TO_STDOUT } from '../builder/workplace.ts';
import { processMs } from '../system/clock.ts';
import { isStdoutClosed } from '../system/copy-to-stdout.ts';
import { messageOf } from '../system/errors.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { makeProgress } from '../text/progress.ts';
import { megabytes } from '../text/megabytes.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { authFile, type Refuse } from './build-options.ts';

export interface PullArguments {
  readonly output?: string;
  readonly authfile?: string;
  readonly insecure?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const STDOUT = 1;

/** Brings a disk from a registry. @returns the exit status: 3 if the agent would leave something of it out */
export async function pull(source: string, options: PullArguments, refuse: Refuse): Promise<number> {
  const { output, authfile, insecure = false, json = false } = options;
  try {
    checkRegistryName(source);
  } catch (error) {
    return refuse(messageOf(error));
  }
  if (output === undefined || output === '') return refuse('-o, --output DISK: expected a file, or -, found none');
  if (output === TO_STDOUT && (json || isStdoutClosed() || isatty(STDOUT)))
    return refuse(
      `-o -: expected a file or a pipe as standard output, found ${json ? '--json, which goes there' : isStdoutClosed() ? 'it closed' : 'a terminal'}`,
    );
  if (lstatSync(output, { throwIfNoEntry: false })?.isBlockDevice() === true)
    return refuse(
      `-o ${output}: expected a file, found a block device: qemu-img convert -O raw DISK ${output} writes a disk to it`,
    );
  const access = { authFile: authfile === undefined ? undefined : authFile(authfile, refuse), insecure };
  const progress = makeProgress(stderr, options.quiet === true, processMs);
  const { from, digest, sizeBytes, inspection } = await pullDisk(source, output, access, progress);
  const { label, format, manifest, images, layers, problems } = inspection;
  const manifestDigest = manifest?.digest ?? null;
  const where = output === TO_STDOUT ? 'standard output' : output;
  const text = json
    ? JSON.stringify(
        {
          output,
          from,
          digest,
          bytes: sizeBytes,
          format,
          label,
          manifest: manifestDigest,
          images: images.length,
          problems,
        },
        undefined,
        2,
      )
    : oneLine(
        `${where}: label ${label ?? ''}, ${plural(images.length, 'image')}, ${plural(layers.length, 'layer')}, ${megabytes(sizeBytes)}, manifest ${manifestDigest ?? 'none'}, from ${from}`,
      );
  (output === TO_STDOUT ? stderr : process.stdout).write(`${text}\n`);
  for (const problem of problems) tellLine(`docker-preloader: ${where}: ${problem}`);
  return problems.length === 0 ? 0 : 3;
}
