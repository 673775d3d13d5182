import {
  chmodSync,
  closeSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { copyToStdout } from '../system/copy-to-stdout.ts';

/** As an output, standard output. */
export const TO_STDOUT = '-';

/** A folder for what is on its way to the disk: gone when this ends, whichever way, also by Ctrl-C. */
export interface Workplace {
  path(name: string): string;
  /** Makes a file of the workplace the output, whole and durable. */
  publish(name: string): Promise<void>;
  remove(): void;
}

interface WorkplaceOptions {
  /** What must end before the folder can go: called without waiting for anything but itself. */
  readonly beforeRemoval?: () => void;
  /** The output is not made: temporary files, if any, go where such files go. */
  readonly dryRun?: boolean;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * The workplace of an output: a folder beside it, so that a rename can publish it. For standard output, and where
 * nothing is published, it is in the folder for temporary files (TMPDIR), made only when something is put into it.
 * @param output undefined where nothing is published, and nobody has said where it would be
 * @throws PreloaderError where the output cannot be put there
 */
export function makeWorkplace(
  output: string | undefined,
  { beforeRemoval = () => undefined, dryRun = false }: WorkplaceOptions = {},
): Workplace {
  if (output !== undefined && output !== TO_STDOUT) refuseOutput(output);
  let folder = output === undefined || dryRun || output === TO_STDOUT ? undefined : makeFolder(output);
  const remove = (): void => {
    beforeRemoval();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    // Last: to remove a large file takes a while, in which a signal would leave the rest.
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    remove();
    // Ends as the signal would have, so that a caller sees it.
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  const path = (name: string): string => join((folder ??= makeTemporaryFolder()), name);
  return {
    path,
    publish: async (name) => {
      if (output === undefined) return;
      if (output === TO_STDOUT) return await copyToStdout(path(name));
      sync(path(name));
      chmodSync(path(name), 0o644 & ~process.umask());
      renameSync(path(name), output);
      sync(dirname(output));
    },
    remove,
  };
}

function makeFolder(output: string): string {
  try {
    // As the kernel goes, which may find a symlink before a `..`: join would leave both out.
    return mkdtempSync(`${dirname(output)}/.${basename(output)}.`);
  } catch (error) {
    throw noFolder(output, error);
  }
}

function makeTemporaryFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), 'docker-preloader-'));
  } catch (error) {
    throw new PreloaderError(
      'BUILD_FAILED',
      `${tmpdir()}: expected a folder for temporary files: ${messageOf(error)}: name another in TMPDIR`,
      { cause: error },
    );
  }
}

function noFolder(output: string, cause: unknown): PreloaderError {
  return new PreloaderError('BUILD_FAILED', `${output}: expected a folder to write in: ${messageOf(cause)}`, { cause });
}

function refuseOutput(output: string): void {
  let there: Stats | undefined;
  try {
    there = lstatSync(output, { throwIfNoEntry: false });
  } catch (error) {
    throw noFolder(output, error);
  }
  const found =
    there === undefined ? (output.endsWith('/') ? 'the name of a folder' : undefined) : describe(there, output);
  if (found !== undefined) {
    throw new PreloaderError(
      'BUILD_FAILED',
      `${output}: expected a regular file to replace, or nothing, found ${found}`,
    );
  }
}

function describe(stats: Stats, output: string): string | undefined {
  if (stats.isFile()) return undefined;
  if (stats.isDirectory()) return 'a folder: name a file in it';
  if (stats.isSymbolicLink()) return 'a symlink: name the file itself';
  if (stats.isBlockDevice()) return `a block device: write to it with -o - | dd of=${output} bs=1M conv=fsync`;
  return 'something else: -o - writes to standard output';
}

/** Makes a file's content, or the names in a folder, durable. */
function sync(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
