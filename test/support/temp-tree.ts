import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { cleanUpLater } from './cleanup.ts';

/** execa, which others have, takes longer to load than most unit tests take. */
const run = promisify(execFile);

/** Where files are in memory: for many small ones that are synced each, and for stores that are made anew often. */
const MEMORY = '/dev/shm';

type Where = 'on-disk' | 'in-memory';

/** Makes a folder that nobody else has, in memory only where that can be had. Who calls this removes it. */
export function makeTempFolder(prefix: string, where: Where = 'on-disk'): string {
  const parent = where === 'in-memory' && existsSync(MEMORY) ? MEMORY : realpathSync(tmpdir());
  return mkdtempSync(path.join(parent, `${prefix}-`));
}

/** A private folder in memory that is gone after the test. Nothing is mounted in it. */
export function scratch(t: Pick<TestContext, 'after'>): string {
  const folder = makeScratch();
  t.after(() => removeScratch(folder));
  return folder;
}

/** The same for what is no test: one round of a property. */
export const makeScratch = (): string => makeTempFolder('dpl-unit', 'in-memory');

export function removeScratch(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

export interface TempTree {
  /** Its path, without symlinks, and short enough for a unix socket below it. */
  readonly path: string;
  /** Unmounts what is mounted in it and removes it. */
  remove(): Promise<void>;
}

/** Makes a private folder that is gone after the run, with everything that was mounted in it. */
export async function tempTree(prefix = 'dpl', where: Where = 'on-disk'): Promise<TempTree> {
  const folder = makeTempFolder(prefix, where);
  return {
    path: folder,
    remove: cleanUpLater(
      folder,
      async () => {
        await unmountBelow(folder);
        // --one-file-system: a mount that appeared meanwhile must not be emptied.
        await run('rm', ['-rf', '--one-file-system', folder]);
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
    await run('umount', ['--no-canonicalize', mountPoint]).catch(() =>
      run('umount', ['--no-canonicalize', '--lazy', mountPoint]),
    );
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
