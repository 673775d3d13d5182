import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { cacheDir } from '../../agent/packaging/small/cache-folder.ts';
import { withFileLock } from './file-lock.ts';

/**
 * Returns the folder `key` of the cache, and has `make` fill it first where it is not there yet.
 *
 * The folder appears under its name only when `make` has succeeded. Two processes that want the same key do the work
 * once: the second waits for the first. What a killed process left half made is removed by the next one.
 * @param key one path component that names the content, versions included, for example `dockerd-28.5-forky-1a2b3c`
 * @param make fills the empty folder that it is given; what it throws, this throws
 */
export async function cached(key: string, make: (tempDir: string) => Promise<void>): Promise<string> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._+~-]*$/.test(key)) {
    throw new Error(`Expected a cache key of letters, digits and ._+~-, got \`${key}\``);
  }
  const whole = path.join(cacheDir(), key);
  if (existsSync(whole)) return whole;
  await mkdir(cacheDir(), { recursive: true });
  return withFileLock(`${whole}.lock`, async () => {
    if (existsSync(whole)) return whole;
    const partial = `${whole}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial);
    try {
      await make(partial);
      await rename(partial, whole);
    } catch (error) {
      await rm(partial, { recursive: true, force: true });
      throw error;
    }
    return whole;
  });
}
