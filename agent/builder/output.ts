import { lstatSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';
import { PreloaderError, reasonOf } from '../system/errors.ts';

/** Which option names an output, and the code of an output that cannot be taken. */
export interface OutputOption {
  readonly option: '-o' | '--svg';
  readonly code: 'BUILD_FAILED' | 'OUTPUT_FAILED';
}

export const DISK_OUTPUT: OutputOption = { option: '-o', code: 'BUILD_FAILED' };

/** Refuses an output that is neither a regular file nor absent. Nothing is written. @throws PreloaderError */
export function refuseOutput(output: string, { option, code }: OutputOption = DISK_OUTPUT): void {
  let there: Stats | undefined;
  try {
    there = lstatSync(output, { throwIfNoEntry: false });
  } catch (error) {
    throw noFolder(output, error, code);
  }
  const found =
    there === undefined ? (output.endsWith('/') ? 'the name of a folder' : undefined) : describe(there, output, option);
  if (found !== undefined) {
    throw new PreloaderError(code, `${output}: expected a regular file to replace, or nothing, found ${found}`);
  }
}

/** An output in whose folder nothing can be written. */
export function noFolder(
  output: string,
  cause: unknown,
  code: OutputOption['code'] = DISK_OUTPUT.code,
): PreloaderError {
  return new PreloaderError(
    code,
    `${output}: nothing can be written in the folder ${dirname(output)}: ${reasonOf(cause)}`,
    { cause },
  );
}

function describe(stats: Stats, output: string, option: OutputOption['option']): string | undefined {
  if (stats.isFile()) return undefined;
  if (stats.isDirectory()) return 'a folder: name a file in it';
  if (stats.isSymbolicLink()) return 'a symlink: name the file itself';
  if (stats.isBlockDevice()) {
    return `a block device: write to it with ${option} - | dd of=${output} bs=1M conv=fsync`;
  }
  return `something else: ${option} - writes to standard output`;
}
