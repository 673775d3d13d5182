import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { cacheDir } from '../../agent/packaging/small/cache-folder.ts';
import { cleanUpLater } from './cleanup.ts';
import { withFileLock } from './file-lock.ts';

const parameter = '/sys/module/overlay/parameters/redirect_dir';
let switchedHere = false;

/**
 * Runs `work`, the start of a dockerd, on a kernel with `overlay.redirect_dir=on`: dockerd finds out at its start that
 * overlay2's native diff cannot be used (`doesSupportNativeDiff`, daemon/graphdriver/overlay2/check.go).
 * The parameter is the whole machine's, so other dockerds that start through `withNativeDiff` wait meanwhile.
 */
export async function withoutNativeDiff<T>(work: () => Promise<T>): Promise<T> {
  return withFileLock(await lockFile(), async () => {
    const found = readFileSync(parameter, 'utf8');
    const restore = cleanUpLater(parameter, () => {
      writeFileSync(parameter, found);
    });
    switchedHere = true;
    try {
      writeFileSync(parameter, 'Y');
      return await work();
    } finally {
      switchedHere = false;
      await restore();
    }
  });
}

/**
 * Runs `work`, the start of a dockerd, while nobody has the kernel parameter switched but a `withoutNativeDiff` around
 * it.
 */
export async function withNativeDiff<T>(work: () => Promise<T>): Promise<T> {
  return switchedHere ? work() : withFileLock(await lockFile(), work, 'shared');
}

async function lockFile(): Promise<string> {
  await mkdir(cacheDir(), { recursive: true });
  return path.join(cacheDir(), 'overlay-redirect-dir.lock');
}
