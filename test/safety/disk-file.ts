import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, rmdir, truncate, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { ensureDebianPackages } from '../support/debian-packages.ts';

/** Puts a folder's content into a new ext4 image; sparse files stay sparse. @param label any bytes, at most 16 */
export async function makeDiskFile(root: string, file: string, label: string | Buffer): Promise<void> {
  const names = await countNames(root);
  const folders = await countNames(root, '-type', 'd');
  const { stdout: blocks } = await execa('du', ['--summarize', '--block-size=4096', root]);
  const { stdout: inodes } = await execa('du', ['--summarize', '--inodes', root]);
  await writeFile(file, '');
  await truncate(file, (Number.parseInt(blocks, 10) + folders + Math.ceil(names / 8) + 1024) * 4096);
  await ensureDebianPackages(['e2fsprogs'], { install: true });
  // Without checksums, so that a label, and damage, can be written to it as they are.
  const options = [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-b',
    '4096',
    '-O',
    '^has_journal,^metadata_csum',
    '-m',
    '0',
    '-N',
    String(Number.parseInt(inodes, 10) + 64),
  ];
  // mke2fs looks through the whole folder for each name that it adds.
  if (names < 5000) await execa('mke2fs', [...options, '-d', root, file]);
  else {
    await execa('mke2fs', [...options, file]);
    await fill(file, root);
  }
  setLabel(file, label);
}

async function countNames(root: string, ...which: readonly string[]): Promise<number> {
  return (await execa('find', [root, ...which, '-printf', '.'])).stdout.length;
}

/** Mounts the new filesystem for a moment and copies the content into it. */
async function fill(file: string, root: string): Promise<void> {
  const at = `${file}.mounted`;
  await mkdir(at);
  await execa('mount', ['-o', 'loop', file, at]);
  try {
    await execa('cp', ['-a', `${root}/.`, at]);
  } finally {
    await execa('umount', [at]);
    await rmdir(at);
  }
}

/** Writes an ext4 label of any bytes, which tune2fs would not: s_volume_name, 16 bytes at 0x78 of the superblock. */
export function setLabel(file: string, label: string | Buffer): void {
  const bytes = Buffer.alloc(16);
  Buffer.from(label).copy(bytes);
  const fd = openSync(file, 'r+');
  try {
    writeSync(fd, bytes, 0, 16, 1024 + 0x78);
  } finally {
    closeSync(fd);
  }
}
