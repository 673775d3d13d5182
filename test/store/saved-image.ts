import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { execa } from 'execa';
import type { Dockerd } from '../support/dockerd.ts';
import { tempTree } from '../support/temp-tree.ts';

export interface SavedLayer {
  /** What the image's configuration says. */
  readonly diffId: string;
  /** What the bytes in the archive give, unpacked where they are compressed. */
  readonly digest: string;
  /** The names in the layer's tar. */
  readonly names: readonly string[];
}

const GZIP_MAGIC = 0x1f8b;

/** Saves an image and returns its layers, the base first; works on the archives of every dockerd. */
export async function savedLayers(dockerd: Dockerd, tag: string): Promise<readonly SavedLayer[]> {
  const tree = await tempTree('dpl-saved');
  try {
    const archive = path.join(tree.path, 'saved.tar');
    await dockerd.cli(['save', '--output', archive, tag]);
    await execa('tar', ['-x', '-f', archive, '-C', tree.path]);
    const read = (name: string): Promise<string> => readFile(path.join(tree.path, name), 'utf8');
    const [image] = JSON.parse(await read('manifest.json')) as [{ Config: string; Layers: string[] }];
    const { rootfs } = JSON.parse(await read(image.Config)) as { rootfs: { diff_ids: string[] } };
    if (rootfs.diff_ids.length !== image.Layers.length)
      throw new Error(
        `Expected ${rootfs.diff_ids.length} layers in the archive of ${tag}, found ${image.Layers.length}`,
      );
    return await Promise.all(
      rootfs.diff_ids.map(async (diffId, number) => {
        const file = path.join(tree.path, image.Layers[number] ?? '');
        const bytes = await readFile(file);
        return {
          diffId,
          digest: `sha256:${createHash('sha256')
            .update(bytes.readUInt16BE() === GZIP_MAGIC ? gunzipSync(bytes) : bytes)
            .digest('hex')}`,
          names: (await execa('tar', ['-t', '-f', file])).stdout.split('\n').filter((name) => name !== ''),
        };
      }),
    );
  } finally {
    await tree.remove();
  }
}
