import { fstatSync, realpathSync, statSync, type Stats } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { PreloaderError } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import { identityOf } from './archive/member-archive.ts';
import { DISK_OUTPUT, type OutputOption } from './output.ts';

/** A file that a build reads, and its role in the build. */
export interface Input {
  readonly role: string;
  /** `-` is standard input. */
  readonly path: string;
  /** Whether it is also written, later, where it is not there yet. */
  readonly isToBeMade?: boolean;
}

const STDIN = 0;
const STDOUT = 1;

/**
 * Refuses an output that is also an input, under whatever name: through symlinks, as a hard link, as standard input or
 * output, or as the file behind a loop device. Nothing has been opened for writing by then.
 * @param output `-` is standard output
 * @throws PreloaderError
 */
export function refuseInputAsOutput(
  output: string,
  inputs: readonly Input[],
  { code }: OutputOption = DISK_OUTPUT,
): void {
  const target = output === '-' ? identities(fstatSync(STDOUT)) : identitiesOf(output);
  for (const { role, path, isToBeMade = false } of inputs) {
    const source = path === '-' ? identities(fstatSync(STDIN)) : identitiesOf(path);
    if (
      source.some((one) => target.includes(one)) ||
      (isToBeMade && output !== '-' && placeOf(output) === placeOf(path))
    ) {
      throw isInput(output, path === '-' ? 'standard input' : `${role} ${path}`, code);
    }
  }
}

export function isInput(output: string, what: string, code: OutputOption['code'] = DISK_OUTPUT.code): PreloaderError {
  return new PreloaderError(
    code,
    `${output === '-' ? 'standard output' : output}: expected an output that is none of the inputs, ` +
      `found ${what}: choose another`,
  );
}

/** Where a file is that need not be there. */
function placeOf(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return resolve(path);
  }
}

/**
 * Empty if the file does not exist or cannot be looked at. Then nothing is replaced, and whoever opens it reports the
 * reason.
 */
function identitiesOf(path: string): string[] {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch {
    return [];
  }
  return stats === undefined ? [] : identities(stats);
}

/**
 * The identities of a file or block device, and of the file behind a loop device. Pipes and /dev/null hold nobody's
 * data.
 */
function identities(stats: Stats): string[] {
  if (stats.isFile()) return [identityOf(stats)];
  if (!stats.isBlockDevice()) return [];
  // glibc's gnu_dev_major and gnu_dev_minor. Linux does not use the upper bits of dev_t.
  const [major, minor] = [(stats.rdev >> 8) & 0xfff, (stats.rdev & 0xff) | ((stats.rdev >> 12) & 0xfff00)];
  // For a partition, the loop device is the folder above the one that the link leads to.
  const backing = ['loop', '../loop'].flatMap(
    (name) => readTextIfThere(`/sys/dev/block/${major}:${minor}/${name}/backing_file`) ?? [],
  )[0];
  return [`device ${stats.rdev}`, ...(backing === undefined ? [] : identitiesOf(backing.trimEnd()))];
}
