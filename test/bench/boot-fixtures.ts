import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { dockerArchive, type ArchiveImage } from '../support/docker-archive.ts';

/**
 * Labels of at most 16 bytes that nothing else on this machine has: not by the process id, which is 1 in a namespace of
 * its own.
 */
export const labelPrefix = `b${randomBytes(4).toString('hex')}-`;

/**
 * Makes a preload disk of small layers with `build`, so that what is measured does not depend on the content.
 * @param layers of each image; beyond the first image, images share all layers but their last
 */
export async function makeDisk(
  executable: string,
  folder: string,
  disk: {
    readonly number: number;
    readonly images: number;
    readonly layers: number;
    /** Whether it has the layers' blobs, too. */
    readonly blobs?: boolean;
    /** The file of the key that signs it. */
    readonly key?: string;
  },
): Promise<string> {
  const { number, images, layers, blobs = false, key } = disk;
  const layer = (name: string): ArchiveImage['layers'][number] => [{ name, content: `disk ${number}, ${name}\n` }];
  const archive = path.join(folder, `disk-${number}.tar`);
  writeFileSync(
    archive,
    await dockerArchive(
      Array.from({ length: images }, (_, image) => ({
        tags: [`bench/disk-${number}-image-${image}:1`],
        layers: Array.from({ length: layers }, (__, index) =>
          layer(index === layers - 1 ? `top-${image}` : `layer-${index}`),
        ),
      })),
    ),
  );
  const file = path.join(folder, `disk-${number}.ext4`);
  await execa(executable, [
    'build',
    archive,
    '-o',
    file,
    '--format',
    'raw',
    '--label',
    `${labelPrefix}${number}`,
    '--quiet',
    ...(blobs ? ['--blobs', 'tar'] : []),
    ...(key === undefined ? [] : ['--sign', key]),
  ]);
  rmSync(archive);
  return file;
}

const LAYERS_AN_IMAGE = 20;

/**
 * Makes an empty ext4 for a data root, with so many layers of the user's in `docker/` as dockerd would have written
 * them.
 */
export async function makeDataRoot(
  folder: string,
  { userLayers, sizeMb }: { readonly userLayers: number; readonly sizeMb: number },
): Promise<string> {
  const tree = path.join(folder, `store-${userLayers}`);
  if (userLayers > 0) fillUserStore(path.join(tree, 'docker'), userLayers);
  const file = path.join(folder, `data-${userLayers}-${sizeMb}.ext4`);
  await execa('truncate', ['--size', `${sizeMb}M`, file]);
  await execa('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', ...(userLayers > 0 ? ['-d', tree] : []), file]);
  rmSync(tree, { recursive: true, force: true });
  return file;
}

/** Images of 20 layers each, whole in both halves of the store (moby, layer/filestore.go, overlay2/overlay.go). */
function fillUserStore(root: string, layers: number): void {
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
  const meta = path.join(root, 'image/overlay2');
  for (const dir of [
    'overlay2/l',
    'image/overlay2/imagedb/content/sha256',
    'image/overlay2/imagedb/metadata/sha256',
    'image/overlay2/layerdb/sha256',
    'image/overlay2/layerdb/tmp',
    'image/overlay2/layerdb/mounts',
  ])
    mkdirSync(path.join(root, dir), { recursive: true });
  const repositories: Record<string, Record<string, string>> = {};
  for (let first = 0; first < layers; first += LAYERS_AN_IMAGE) {
    const diffIds: string[] = [];
    let [chain, lower] = ['', ''];
    for (let index = first; index < Math.min(first + LAYERS_AN_IMAGE, layers); index += 1) {
      const [diffId, cacheId, link] = [
        `sha256:${hash(`user layer ${index}`)}`,
        hash(`user cache ${index}`),
        hash(`user link ${index}`).toUpperCase().slice(0, 26),
      ];
      const parent = chain;
      chain = parent === '' ? diffId : `sha256:${hash(`${parent} ${diffId}`)}`;
      diffIds.push(diffId);
      const record = path.join(meta, 'layerdb/sha256', chain.slice(7));
      mkdirSync(record);
      for (const [name, text] of Object.entries({
        diff: diffId,
        size: '4',
        'cache-id': cacheId,
        ...(parent === '' ? {} : { parent }),
      }))
        writeFileSync(path.join(record, name), text);
      const home = path.join(root, 'overlay2', cacheId);
      mkdirSync(path.join(home, 'diff'), { recursive: true });
      writeFileSync(path.join(home, 'diff', `file-${index}`), 'user');
      mkdirSync(path.join(home, 'work'));
      for (const [name, text] of Object.entries({ link, committed: '', ...(lower === '' ? {} : { lower }) }))
        writeFileSync(path.join(home, name), text);
      symlinkSync(`../${cacheId}/diff`, path.join(root, 'overlay2/l', link));
      lower = lower === '' ? `l/${link}` : `l/${link}:${lower}`;
    }
    const config = JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: diffIds },
    });
    writeFileSync(path.join(meta, 'imagedb/content/sha256', hash(config)), config);
    repositories[`user-${first}`] = { [`user-${first}:1`]: `sha256:${hash(config)}` };
  }
  writeFileSync(path.join(meta, 'repositories.json'), JSON.stringify({ Repositories: repositories }));
}

/** Packs what is on a mounted disk, as a tarball of a store would hold it. */
export async function packStore(
  mounted: string,
  folder: string,
): Promise<{ readonly zstd: string; readonly lz4: string }> {
  const files = { zstd: path.join(folder, 'store.tar.zst'), lz4: path.join(folder, 'store.tar.lz4') };
  for (const [program, file] of Object.entries(files))
    await execa('tar', [
      '--create',
      '--xattrs',
      '--use-compress-program',
      program,
      '--file',
      file,
      '--directory',
      mounted,
      'image',
      'overlay2',
    ]);
  return files;
}
