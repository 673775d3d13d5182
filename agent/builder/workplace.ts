import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { PreloaderError, reasonOf } from '../system/errors.ts';
import { noFolder, refuseOutput } from './output.ts';
import { copyToStdout } from '../system/copy-to-stdout.ts';

/** The output that means standard output. */
export const TO_STDOUT = '-';

/** A folder for the files of a build. It is removed when the build ends in any way, also by Ctrl-C. */
export interface Workplace {
  path(name: string): string;
  /** Makes a file of the workplace the output, complete and durable. */
  publish(name: string): Promise<void>;
  remove(): void;
}

interface WorkplaceOptions {
  /** Ends whatever still uses the folder. Must be synchronous. */
  readonly beforeRemoval?: () => void;
  /** If true, no output is made, and any temporary files go to the usual folder for them. */
  readonly dryRun?: boolean;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * Makes the workplace of an output: a folder beside it, so that a rename can publish it. For standard output, or if
 * nothing is published, it is in the folder for temporary files (TMPDIR) and is made only when it is needed.
 * @param output undefined if nothing is published and no place for it was given
 * @throws PreloaderError if the output cannot be put there
 */
export function makeWorkplace(
  output: string | undefined,
  { beforeRemoval = () => undefined, dryRun = false }: WorkplaceOptions = {},
): Workplace {
  if (output !== undefined && output !== TO_STDOUT) refuseOutput(output);
  if (dryRun && output !== undefined && output !== TO_STDOUT) refuseFolder(output);
  let folder = output === undefined || dryRun || output === TO_STDOUT ? undefined : makeFolder(output);
  const remove = (): void => {
    beforeRemoval();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    // Done last, because removing a large file takes a while, and a signal meanwhile would leave the rest behind.
    for (const signal of SIGNALS) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    remove();
    // Ends as the signal would have ended it, so that the caller sees it.
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

/** So much of the output's name is in that of its folder: with all of a long one, it would be too long. */
const SHOWN_NAME = 40;

function makeFolder(output: string): string {
  try {
    // Not `join`, which would drop a name before a `..`: the kernel would follow that name if it is a symlink.
    return mkdtempSync(`${dirname(output)}/.${basename(output).slice(0, SHOWN_NAME)}.`);
  } catch (error) {
    throw noFolder(output, error);
  }
}

/** As if the folder were made. */
function refuseFolder(output: string): void {
  try {
    accessSync(dirname(output), constants.W_OK | constants.X_OK);
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
      `${tmpdir()}: expected a folder for temporary files, found ${reasonOf(error)}: name another in TMPDIR`,
      { cause: error },
    );
  }
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
