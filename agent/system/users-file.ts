import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeNewFile } from './write-files.ts';

/**
 * Replaces a file of the user's, whole or not at all. What is temporary has a folder of its own beside it, with a name
 * that nothing has. The process's umask applies to the mode.
 * @throws system errors
 */
export function replaceUsersFile(path: string, content: string, mode: number): void {
  // Not `join`, which would drop a name before a `..`: the kernel would follow that name if it is a symlink.
  const folder = mkdtempSync(`${dirname(path)}/.docker-preloader-`);
  try {
    writeNewFile(`${folder}/new`, content, mode);
    renameSync(`${folder}/new`, path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
