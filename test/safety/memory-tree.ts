import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { cleanUpLater } from '../support/cleanup.ts';
import { type TempTree, unmountBelow } from '../support/temp-tree.ts';

/**
 * A private folder in memory where that can be had, for stores that are made anew hundreds of times. It is gone after
 * the run, with what was mounted in it.
 */
export async function memoryTree(prefix: string): Promise<TempTree> {
  const folder = await mkdtemp(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), `${prefix}-`));
  return {
    path: folder,
    remove: cleanUpLater(
      folder,
      async () => {
        await unmountBelow(folder);
        await execa('rm', ['-rf', '--one-file-system', folder]);
      },
      () => existsSync(folder),
    ),
  };
}
