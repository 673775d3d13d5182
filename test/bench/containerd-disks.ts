import { createCipheriv, createHash } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { FORMAT_VERSION } from '../../agent/disk/manifest.ts';
import { cached } from '../support/cache.ts';
import { layerTar, type LayerEntry } from '../support/docker-archive.ts';
import { packImage } from './build.ts';

/** The name of the large image, and the label of its disk. */
export const LARGE = { tag: 'bench/large:1', label: 'bench-large' } as const;

const LAYERS = 12;
const FOLDERS_A_LAYER = 20;

/** An image of files that are the same on each machine, as an archive of `docker save`, and a disk of it. */
export interface LargeImage {
  readonly archive: string;
  readonly disk: string;
}

/**
 * Makes an image of 12 layers and some 6,000 files, and the disk, with the layers' blobs; or takes those of an earlier
 * run. What `docker save` writes is not compressed, which is what `docker load` and `ctr images import` are fastest
 * with.
 */
export async function largeImage(executable: string, sizeMb: number): Promise<LargeImage> {
  const recipe = JSON.stringify([sizeMb, LARGE, FORMAT_VERSION, layerOf.toString(), bytesOf.toString()]);
  const key = createHash('sha256').update(recipe).digest('hex').slice(0, 12);
  const folder = await cached(`bench-large-${key}`, async (made) => {
    const layers: string[] = [];
    const stage = path.join(made, 'layers');
    mkdirSync(stage);
    for (let number = 0; number < LAYERS; number += 1) {
      const file = path.join(stage, `${number}.tar`);
      writeFileSync(file, await layerTar(layerOf(number, (sizeMb * 1e6) / LAYERS)));
      layers.push(file);
    }
    await packImage(made, LARGE.tag, layers);
    rmSync(stage, { recursive: true });
    await execa(executable, [
      'build',
      path.join(made, 'image.tar'),
      '-o',
      path.join(made, 'disk.raw'),
      '--label',
      LARGE.label,
      '--blobs',
      'tar',
      '--quiet',
    ]);
    renameSync(path.join(made, 'disk.raw'), path.join(made, 'disk.ext4'));
  });
  return { archive: path.join(folder, 'image.tar'), disk: path.join(folder, 'disk.ext4') };
}

/** Files of very different sizes, as in a real image: most are small, and a few have most of the bytes. */
function layerOf(layer: number, sizeBytes: number): LayerEntry[] {
  const root = `usr/share/layer-${layer}`;
  const entries: LayerEntry[] = ['usr', 'usr/share', root].map((name) => ({ name }));
  for (let folder = 0; folder < FOLDERS_A_LAYER; folder += 1) entries.push({ name: `${root}/${folder}` });
  let left = sizeBytes;
  for (let file = 0; left > 0; file += 1) {
    const size = Math.min(left, Math.round(400 * 1.55 ** ((file * 7) % 19)));
    entries.push({
      name: `${root}/${file % FOLDERS_A_LAYER}/file-${file}`,
      content: bytesOf(layer * 1e6 + file, size),
    });
    left -= size;
  }
  return entries;
}

/** Bytes that look random, and are the same each time. */
function bytesOf(seed: number, length: number): Buffer {
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16);
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}
