import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { fetchDebianPackage } from './debian-packages.ts';
import { tempTree } from './temp-tree.ts';

export interface LegacyDiskOptions {
  /** At most 16 bytes for ext4, 15 for erofs. */
  readonly label: string;
  /** `ext4` where absent. */
  readonly filesystem?: 'ext4' | 'erofs';
  /** Remove `committed` where a layer has no child: dockerd writes it only when a child is made. */
  readonly dropTopCommitted?: boolean;
  /** Keep `layerdb/mounts`, the containers' layers that the data root had. */
  readonly keepMounts?: boolean;
  /** Add what interrupted dockerds leave: `layerdb/tmp/write-set-*` and a `*-removing` folder. */
  readonly leftovers?: boolean;
  /** Changes the copy (with `image/` and `overlay2/` in it) before it becomes a filesystem: for damaged disks. */
  readonly change?: (root: string) => Promise<void> | void;
}

/**
 * Makes a disk as the NixOS module of 2018 did: a filesystem with `image/` and `overlay2/` of a data root, no manifest.
 * @param dataRoot of a dockerd that has stopped
 * @param file where the disk goes, a raw image of the filesystem alone
 */
export async function makeLegacyDisk(dataRoot: string, file: string, options: LegacyDiskOptions): Promise<void> {
  const tree = await tempTree('dpl-disk');
  try {
    const root = path.join(tree.path, 'root');
    await mkdir(root);
    for (const part of ['image', 'overlay2']) await execa('cp', ['-a', path.join(dataRoot, part), root]);
    const layerdb = path.join(root, 'image/overlay2/layerdb');
    if (options.keepMounts !== true) await dropMounts(root, layerdb);
    if (options.dropTopCommitted === true) await dropTopCommitted(root);
    if (options.leftovers === true) await addLeftovers(layerdb);
    await options.change?.(root);
    await makeFilesystem(root, file, options.label, options.filesystem ?? 'ext4');
  } finally {
    await tree.remove();
  }
}

/** Puts a folder's content into a new filesystem image that has room for it and not much more. */
async function makeFilesystem(root: string, file: string, label: string, filesystem: 'ext4' | 'erofs'): Promise<void> {
  await rm(file, { force: true });
  if (filesystem === 'erofs') {
    const mkfs = path.join(await fetchDebianPackage('bookworm', ['erofs-utils']), 'usr/bin/mkfs.erofs');
    await execa(mkfs, ['--quiet', file, root]);
    await labelErofs(file, label);
    return;
  }
  const { stdout } = await execa('du', ['--summarize', '--block-size=4096', root]);
  const inodes = (await execa('find', [root, '-printf', '.'])).stdout.length;
  await writeFile(file, '');
  await truncate(file, (Number.parseInt(stdout, 10) + Math.ceil(inodes / 8) + 2048) * 4096);
  await execa('mke2fs', [
    '-q',
    '-t',
    'ext4',
    '-b',
    '4096',
    '-O',
    '^has_journal',
    '-m',
    '0',
    '-N',
    String(inodes + 64),
    '-L',
    label,
    '-d',
    root,
    file,
  ]);
}

/**
 * Writes the volume name into an erofs superblock: the mkfs.erofs of Debian 12 cannot.
 * The superblock is at 1024: feature_compat at +8, of which bit 0 says that there is a checksum, volume_name[16] at +64
 * (struct erofs_super_block, fs/erofs/erofs_fs.h). The kernel then checks no sum.
 */
async function labelErofs(file: string, label: string): Promise<void> {
  const disk = await open(file, 'r+');
  try {
    const features = Buffer.alloc(4);
    await disk.read(features, 0, 4, 1024 + 8);
    features.writeUInt32LE((features.readUInt32LE() & ~1) >>> 0);
    await disk.write(features, 0, 4, 1024 + 8);
    await disk.write(Buffer.from(label.padEnd(16, '\0')), 0, 16, 1024 + 64);
  } finally {
    await disk.close();
  }
}

/** Removes the containers' layers, and their folders below overlay2 with them. */
async function dropMounts(root: string, layerdb: string): Promise<void> {
  await rm(path.join(layerdb, 'mounts'), { recursive: true, force: true });
  const overlay = path.join(root, 'overlay2');
  const inits = (await readdir(overlay)).filter((id) => id.endsWith('-init'));
  for (const id of inits.flatMap((init) => [init, init.slice(0, -'-init'.length)])) {
    await rm(path.join(overlay, 'l', await readFile(path.join(overlay, id, 'link'), 'utf8')));
    await rm(path.join(overlay, id), { recursive: true });
  }
}

async function dropTopCommitted(root: string): Promise<void> {
  const layerdb = path.join(root, 'image/overlay2/layerdb/sha256');
  const { stdout: parents } = await execa('sh', ['-c', 'cat "$0"/*/parent 2>/dev/null || true', layerdb]);
  for (const chain of await readdir(layerdb)) {
    if (parents.includes(chain)) continue;
    const { stdout: cacheId } = await execa('cat', [path.join(layerdb, chain, 'cache-id')]);
    await rm(path.join(root, 'overlay2', cacheId, 'committed'), { force: true });
  }
}

async function addLeftovers(layerdb: string): Promise<void> {
  const [chain] = await readdir(path.join(layerdb, 'sha256'));
  if (chain === undefined || !existsSync(path.join(layerdb, 'sha256', chain)))
    throw new Error(`Expected layers in ${layerdb}`);
  await execa('cp', [
    '-a',
    path.join(layerdb, 'sha256', chain),
    path.join(layerdb, 'sha256', `${chain}-0123456789-removing`),
  ]);
  await mkdir(path.join(layerdb, 'tmp/write-set-1234567890'), { recursive: true });
  await writeFile(path.join(layerdb, 'tmp/write-set-1234567890/diff'), 'sha256:');
}
