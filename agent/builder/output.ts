import { chmodSync, lstatSync, mkdtempSync, openSync, fsyncSync, closeSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PreloaderError } from '../system/errors.ts';

/** A folder beside the disk for what is on its way to it: gone when this ends, whichever way, also by Ctrl-C. */
export interface Workplace {
  path(name: string): string;
  /** Makes a file of the workplace the output, whole and durable. */
  publish(name: string): void;
  remove(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * @param beforeRemoval what must end before the folder can go: called without waiting for anything but itself
 * @throws PreloaderError where the output cannot be put there
 */
export function makeWorkplace(output: string, beforeRemoval: () => void = () => undefined): Workplace {
  const there = lstatSync(output, { throwIfNoEntry: false });
  if (there !== undefined && !there.isFile()) throw new PreloaderError('BUILD_FAILED', `${output}: a regular file to replace, or nothing, expected, found something else`);
  let folder: string;
  try {
    folder = mkdtempSync(join(dirname(output), `.${basename(output)}.`));
  } catch (error) {
    throw new PreloaderError('BUILD_FAILED', `${output}: a folder to write in expected: ${(error as Error).message}`, { cause: error });
  }
  const remove = (): void => {
    for (const signal of SIGNALS) process.off(signal, onSignal);
    beforeRemoval();
    rmSync(folder, { recursive: true, force: true });
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    remove();
    // Ends as the signal would have, so that a caller sees it.
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    path: (name) => join(folder, name),
    publish: (name) => {
      sync(join(folder, name));
      chmodSync(join(folder, name), 0o644 & ~process.umask());
      renameSync(join(folder, name), output);
      sync(dirname(output));
    },
    remove,
  };
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
