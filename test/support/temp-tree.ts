import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { execa } from 'execa';
import { cleanUpLater } from './cleanup.ts';

export interface TempTree {
  /** Its path, without symlinks, and short enough for a unix socket below it. */
  readonly path: string;
  /** Unmounts what is mounted in it and removes it. */
  remove(): Promise<void>;
}

/** Makes a private folder that is gone after the run, with everything that was mounted in it. */
export async function tempTree(prefix = 'dpl'): Promise<TempTree> {
  const folder = await mkdtemp(path.join(await realpath(tmpdir()), `${prefix}-`));
  return {
    path: folder,
    remove: cleanUpLater(
      folder,
      async () => {
        await unmountBelow(folder);
        // --one-file-system: a mount that appeared meanwhile must not be emptied.
        await execa('rm', ['-rf', '--one-file-system', folder]);
        await rm(folder, { recursive: true, force: true });
      },
      () => existsSync(folder),
    ),
  };
}

/**
 * Unmounts everything at and below `folder`, the newest mount first, so that an overlay goes before what it stands on.
 * What is busy is detached: its last user then frees it.
 */
export async function unmountBelow(folder: string): Promise<void> {
  for (const mountPoint of mountsBelow(folder).reverse()) {
    const { failed } = await execa('umount', ['--no-canonicalize', mountPoint], { reject: false });
    if (failed) await execa('umount', ['--no-canonicalize', '--lazy', mountPoint]);
  }
}

/** The mount points at and below `folder`, oldest first, as /proc/self/mountinfo has them. */
export function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    )
    .filter((mountPoint) => mountPoint === folder || mountPoint.startsWith(`${folder}/`));
}
