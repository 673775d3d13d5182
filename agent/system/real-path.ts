import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { isENOENT } from './errors.ts';
import { linkTarget } from './files.ts';

/**
 * A path without symlinks, as the kernel names what is mounted there (mountinfo), also where it is not there yet, and where
 * a symlink leads to what is not there yet. What cannot be resolved is returned as it is: who uses it says why.
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
