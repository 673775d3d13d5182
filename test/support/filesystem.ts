import { truncate, writeFile } from 'node:fs/promises';
import { execa } from 'execa';

/**
 * Makes a filesystem in a new file, and mounts it.
 * @param mkfs the command that makes it, to which the file is added
 * @returns what mounts it again
 */
export async function mountNew(
  file: string,
  sizeBytes: number,
  [program, ...options]: readonly [string, ...string[]],
  mountPoint: string,
): Promise<() => Promise<void>> {
  await writeFile(file, '');
  await truncate(file, sizeBytes);
  await execa(program, [...options, file], { env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` } });
  const mount = async (): Promise<void> => void (await execa('mount', ['-o', 'loop', file, mountPoint]));
  await mount();
  return mount;
}
