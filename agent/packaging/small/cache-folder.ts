import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { environment } from '../../system/environment.ts';

/**
 * Where is kept what is expensive to make: by the tests (dockerds, guest roots, disks), and by the build (the engine).
 */
export function cacheDir(): string {
  const { DOCKER_PRELOADER_CACHE: own, XDG_CACHE_HOME: all } = environment();
  return own ?? path.join(all ?? path.join(homedir(), '.cache'), 'docker-preloader');
}

/**
 * A folder of the cache, which appears under its name when it is whole.
 * @param key one path component that names all that the content depends on
 * @param make fills a folder that is empty; what it throws, this throws
 */
export async function keptFolder(key: string, make: (folder: string) => Promise<void>): Promise<string> {
  const whole = path.join(cacheDir(), key);
  if (existsSync(whole)) return whole;
  await mkdir(cacheDir(), { recursive: true });
  const partial = await mkdtemp(path.join(cacheDir(), `.${key}.`));
  try {
    await make(partial);
    await rename(partial, whole).catch((error: unknown) => {
      // Another build has made it meanwhile.
      if (!existsSync(whole)) throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
  return whole;
}
