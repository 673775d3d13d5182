import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { startDocker } from './docker.ts';
import type { DemoImage } from './images.ts';
import { run } from './transcript.ts';

/**
 * Makes a preload disk of one image: a dockerd of its own loads the archive, and what it has written goes into a
 * filesystem with a label. This is what the NixOS module of 2018 did.
 * @returns the disk, a raw image of the filesystem
 */
export async function makeDisk(folder: string, image: DemoImage, label: string): Promise<string> {
  const own = path.join(folder, `make-${image.name}`);
  await mkdir(own);
  const docker = await startDocker(own);
  await docker.cli('load', '--input', image.archive);
  await docker.stop();
  const content = path.join(own, 'disk');
  const disk = path.join(folder, `${image.name}.ext4`);
  await run(['mkdir', content]);
  await run(['mv', path.join(own, 'data/image'), path.join(own, 'data/overlay2'), content]);
  const sizeMiB = Math.ceil((image.archiveBytes / 2 ** 20) * 1.1) + 16;
  await run(['mke2fs', '-q', '-t', 'ext4', '-b', '4096', '-m', '0', '-O', '^has_journal', '-L', label, '-d', content, disk, `${sizeMiB}M`], { what: 'writing the filesystem' });
  await run(['rm', '-r', own]);
  return disk;
}
