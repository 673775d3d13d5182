import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ociLayout, tarOf } from '../../builder/archive/archives.ts';
import { cached } from '../../support/cache.ts';
import { makeDisk } from '../../support/disk.ts';
import { dockerArchive, layerTar, type ArchiveImage, type LayerEntry } from '../../support/docker-archive.ts';
import { busyboxRoot } from '../../support/images.ts';

/** How the layers' bytes are on a disk: gzip, as a registry has them; tars, as `docker save` writes them; none. */
export type Form = 'gzip' | 'tar' | 'none';

/** Disks of the same images. */
export interface MadeDisk extends Readonly<Record<Form, string>> {
  /** `docker save` of the images. */
  readonly archive: string;
}

const base = async (): Promise<readonly LayerEntry[]> => [
  ...(await busyboxRoot()),
  { name: 'data' },
  { name: 'data/x', content: 'x\n' },
  { name: 'data/sub' },
  { name: 'data/sub/y', content: 'y\n' },
];
const plain = (name: string): readonly LayerEntry[] => [{ name: 'etc' }, { name: `etc/${name}`, content: `${name}\n` }];

/** What the disks hold: all images stand on one base. */
const recipes: Readonly<Record<string, (tag: string) => Promise<readonly ArchiveImage[]>>> = {
  /** `app-a:1`, with a file of the base deleted. */
  a: async () => [
    {
      tags: ['app-a:1'],
      layers: [await base(), [...plain('a'), { name: 'data' }, { name: 'data/.wh.x', content: '' }]],
    },
  ],
  /** `app-b:1` of three layers, with an opaque folder, and `one:1`, of the base alone. */
  b: async () => [
    {
      tags: ['app-b:1'],
      layers: [
        await base(),
        [
          ...plain('b'),
          { name: 'data' },
          { name: 'data/sub' },
          { name: 'data/sub/.wh..wh..opq', content: '' },
          { name: 'data/sub/z', content: 'z\n' },
        ],
        plain('b2'),
      ],
    },
    { tags: ['one:1'], layers: [await base()] },
  ],
  /** Another `app-b:1`. */
  b2: async () => [{ tags: ['app-b:1'], layers: [await base(), plain('b-new')] }],
  /** `app-a:1` as a user makes his own, and `mine:1`. */
  user: async () => [
    { tags: ['app-a:1'], layers: [await base(), plain('users')] },
    { tags: ['mine:1'], layers: [[...(await busyboxRoot()), { name: 'mine', content: 'mine\n' }]] },
  ],
  /** What Kubernetes makes the first container of each pod of. */
  pause: async (tag) => [{ tags: [tag], layers: [await busyboxRoot()], command: ['sleep', '1000000'] }],
};

/** Makes a disk, or takes that of an earlier run. @param tag of `pause` */
export async function madeDisk(name: string, tag = 'pause:1'): Promise<MadeDisk> {
  const images = await recipes[name]?.(tag);
  if (images === undefined) throw new Error(`a recipe expected, found none for ${name}`);
  const archive = await dockerArchive(images);
  const key = createHash('sha256').update(archive).digest('hex').slice(0, 12);
  const folder = await cached(`containerd-disk-3-${key}`, async (made) => {
    const label = ['--label', `dpl-${name}`];
    await makeDisk(path.join(made, 'none.ext4'), archive, ...label, '--blobs', 'none');
    await makeDisk(path.join(made, 'tar.ext4'), archive, ...label, '--blobs', 'tar');
    await makeDisk(path.join(made, 'gzip.ext4'), await gzipLayout(images), ...label);
    await writeFile(path.join(made, 'archive.tar'), archive);
  });
  const file = (part: string): string => path.join(folder, part);
  return { gzip: file('gzip.ext4'), tar: file('tar.ext4'), none: file('none.ext4'), archive: file('archive.tar') };
}

/** The images as a registry has them. */
async function gzipLayout(images: readonly ArchiveImage[]): Promise<Buffer> {
  const made = images.map(async ({ tags, layers, command }) => ({
    tags,
    layers: await Promise.all(layers.map(layerTar)),
    command,
  }));
  return tarOf(ociLayout(await Promise.all(made), 'gzip'));
}
