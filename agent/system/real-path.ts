import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { isENOENT } from './errors.ts';
import { linkTarget } from './read-files.ts';

/**
 * A path without symlinks, as the kernel writes mount points (mountinfo). It also works if the path, or what a symlink
 * leads to, does not exist yet. A path that cannot be resolved is returned as it is, and whoever uses it reports the
 * reason.
 */
export function realPathOf(path: string): string {
  try {
    return realpathSync.native(path);
  } catch (error) {
    if (!isENOENT(error) || dirname(path) === path) return path;
    const parent = realPathOf(dirname(path));
    const target = linkTarget(join(parent, basename(path)));
    return target === undefined ? join(parent, basename(path)) : realPathOf(resolve(parent, target));
  }
}
