import { chmod, mkdir, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';

/** Puts the files of a disk into a folder, as the documentation says, and closes it to others. */
export async function copyDisk(disk: string, folder: string): Promise<void> {
  // No glob of `sources` matches it.
  const mounted = path.join(path.dirname(folder), `.${path.basename(folder)}`);
  await mkdir(mounted);
  await execa('mount', ['-o', 'loop,ro', disk, mounted]);
  await execa('cp', ['-a', mounted, folder]);
  await execa('umount', [mounted]);
  await rmdir(mounted);
  await chmod(folder, 0o700);
}
