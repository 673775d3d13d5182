import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { DiskBlobs } from '../../../agent/containerd/offer.ts';
import { FolderReader } from '../../../agent/disk/folder-reader.ts';
import { readDisk, type DiskContent } from '../../../agent/disk/read-disk.ts';
import type { ImageID } from '../../../agent/docker/ids.ts';
import { cached } from '../../support/cache.ts';
import { makeDisk } from '../../support/disk.ts';
import { dockerArchive, layerTar, type ArchiveImage, type LayerEntry } from '../../support/docker-archive.ts';
import { busyboxRoot } from '../../support/images.ts';

/** A disk with the layers of its images beside it, as a registry has them. */
export interface MadeDisk {
  /** An ext4. */
  readonly file: string;
  /** Of `blobs/sha256`. */
  readonly blobs: string;
  /** `docker save` of its images. */
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
const recipes: Readonly<Record<string, () => Promise<readonly ArchiveImage[]>>> = {
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
};

/** Makes a disk, or takes that of an earlier run. */
export async function madeDisk(name: string): Promise<MadeDisk> {
  const images = await recipes[name]?.();
  if (images === undefined) throw new Error(`a recipe expected, found none for ${name}`);
  const archive = await dockerArchive(images);
  const key = createHash('sha256').update(archive).digest('hex').slice(0, 12);
  const folder = await cached(`containerd-disk-2-${key}`, async (made) => {
    await makeDisk(path.join(made, 'disk.ext4'), archive, '--label', `dpl-${name}`);
    const blobs = path.join(made, 'blobs');
    await mkdir(blobs);
    for (const { layers } of images)
      for (const entries of layers) {
        const tar = await layerTar(entries);
        await writeFile(path.join(blobs, hex(tar)), tar);
      }
    await writeFile(path.join(made, 'archive.tar'), archive);
  });
  const file = (part: string): string => path.join(folder, part);
  return { file: file('disk.ext4'), blobs: file('blobs'), archive: file('archive.tar') };
}

function hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Reads a mounted disk. */
export function contentOf(label: string, mounted: string): DiskContent {
  return readDisk(label, new FolderReader(mounted));
}

/**
 * The disk's images as a registry has them, below a folder that gets what is not there: gzip of the layers or, as
 * `docker save` writes them, tars.
 */
export async function registryForm(
  content: DiskContent,
  made: MadeDisk,
  folder: string,
  form: 'gzip' | 'tar',
): Promise<DiskBlobs> {
  await mkdir(folder, { recursive: true });
  const manifests = new Map<ImageID, Buffer>();
  const blobs = new Map<string, { readonly path: string; readonly sizeBytes: number }>();
  for (const image of content.images.values()) {
    const layers = [];
    for (const diffID of image.diffIDs) {
      const tar = readFileSync(path.join(made.blobs, diffID.slice('sha256:'.length)));
      const bytes = form === 'gzip' ? gzipSync(tar) : tar;
      const digest = `sha256:${hex(bytes)}`;
      const file = path.join(folder, hex(bytes));
      await writeFile(file, bytes);
      blobs.set(digest, { path: file, sizeBytes: bytes.length });
      const mediaType = `application/vnd.oci.image.layer.v1.tar${form === 'gzip' ? '+gzip' : ''}`;
      layers.push({ mediaType, digest, size: bytes.length });
    }
    const config = {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: image.id,
      size: image.config.length,
    };
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    manifests.set(image.id, Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers })));
  }
  return { manifests, blobs };
}
