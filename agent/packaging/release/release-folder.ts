import { chmodSync, existsSync, globSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { PreloaderError } from '../../system/errors.ts';
import { tryLockFile } from '../../system/lock.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
const UNFINISHED = '.release-';

/**
 * Makes a folder that appears under its name when it is whole. An older one stays until then, and is at no moment a
 * part of one. Interrupted, it leaves nothing; killed, it leaves what the next one removes.
 * @param output the folder; that above it is made
 * @param make fills a folder that is empty; what it throws, this throws
 * @throws PreloaderError BUILD_FAILED where another process makes the same
 */
export async function releaseFolder(output: string, make: (folder: string) => Promise<void>): Promise<void> {
  const parent = path.dirname(output);
  mkdirSync(parent, { recursive: true });
  // Its file stays: who removes it may remove that of the next one.
  const lock = tryLockFile(path.join(parent, '.release.lock'));
  if (lock === 'held')
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected to make ${output} alone, found that another process makes it: wait for its end`,
    );
  removeUnfinished(parent);
  const folder = mkdtempSync(path.join(parent, UNFINISHED));
  const onSignal = (signal: NodeJS.Signals): void => {
    removeUnfinished(parent);
    for (const one of SIGNALS) process.off(one, onSignal);
    // Ends as the signal would have ended it, so that the caller sees it.
    process.kill(process.pid, signal);
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    await make(folder);
    chmodSync(folder, 0o755);
    if (existsSync(output)) renameSync(output, path.join(mkdtempSync(path.join(parent, UNFINISHED)), 'before'));
    renameSync(folder, output);
  } finally {
    removeUnfinished(parent);
    for (const signal of SIGNALS) process.off(signal, onSignal);
    lock.release();
  }
}

/** Whoever calls this holds the lock, so nobody makes them. */
function removeUnfinished(parent: string): void {
  for (const name of globSync(`${UNFINISHED}??????`, { cwd: parent }))
    rmSync(path.join(parent, name), { recursive: true, force: true });
}
