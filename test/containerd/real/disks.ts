import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { digestOf, ociLayout, tarOf } from '../../builder/archive/archives.ts';
import { cached } from '../../support/cache.ts';
import { makeDisk } from '../../support/disk.ts';
import { dockerArchive, layerTar, type ArchiveImage, type LayerEntry } from '../../support/docker-archive.ts';
import { busyboxRoot, lowerFiles, manyLayers } from '../../support/images.ts';

/**
 * How the layers' bytes are on a disk: gzip, as a registry has them; the same below an index of several platforms;
 * tars, as `docker save` writes them; on erofs, where they share the files' data; none.
 */
export type Form = 'gzip' | 'index' | 'tar' | 'erofs' | 'none';

/** Disks of the same images. */
export interface MadeDisk extends Readonly<Record<Form, string>> {
  /** `docker save` of the images. */
  readonly archive: string;
}

const INDEX = 'application/vnd.oci.image.index.v1+json';

const base = async (): Promise<readonly LayerEntry[]> => [
  ...(await busyboxRoot()),
  { name: 'data' },
  { name: 'data/x', content: 'x\n' },
  { name: 'data/sub' },
  { name: 'data/sub/y', content: 'y\n' },
];
const plain = (name: string): readonly LayerEntry[] => [{ name: 'etc' }, { name: `etc/${name}`, content: `${name}\n` }];

/** As `docker build` makes of what is in test/support/images.ts, `importBase` and `changingDockerfile`. */
const lower = async (): Promise<readonly LayerEntry[]> => [...(await busyboxRoot()), ...lowerFiles];
const changing: readonly (readonly LayerEntry[])[] = [
  [{ name: 'lower' }, { name: 'lower/.wh.deleted', content: '' }],
  [{ name: 'covered' }, { name: 'covered/.wh..wh..opq', content: '' }, { name: 'covered/new', content: 'new\n' }],
  [
    { name: 'lower' },
    { name: 'lower/changed', content: 'after\n' },
    { name: 'added' },
    { name: 'added/file', content: 'added\n' },
  ],
];

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
  /** `base:1` of one layer, `multi:1` and `side:1` on it, and `twelve:1`. */
  store: async () => [
    { tags: ['base:1'], layers: [await lower()] },
    { tags: ['multi:1'], layers: [await lower(), ...changing] },
    { tags: ['side:1'], layers: [await lower(), [{ name: 'side', content: 'side\n' }]] },
    { tags: ['twelve:1'], layers: await manyLayers(12) },
  ],
  /** `deep:1` of as many layers as there can be. */
  deep: async () => [{ tags: ['deep:1'], layers: await manyLayers(125) }],
  /** `base:1` and `multi:1` again, and another `side:1`. */
  again: async () => [
    { tags: ['base:1'], layers: [await lower()] },
    { tags: ['multi:1'], layers: [await lower(), ...changing] },
    { tags: ['side:1'], layers: [await lower(), [{ name: 'side', content: 'other side\n' }]] },
  ],
  /** What Kubernetes makes the first container of each pod of. */
  pause: async (tag) => [{ tags: [tag], layers: [await busyboxRoot()], command: ['sleep', '1000000'] }],
};

/** Makes a disk, or takes that of an earlier run. @param tag of `pause` */
export async function madeDisk(name: string, tag = 'pause:1'): Promise<MadeDisk> {
  const images = await recipes[name]?.(tag);
  if (images === undefined) throw new Error(`expected a recipe, found none for ${name}`);
  const archive = await dockerArchive(images);
  const key = createHash('sha256').update(archive).digest('hex').slice(0, 12);
  const folder = await cached(`containerd-disk-4-${key}`, async (made) => {
    const label = ['--label', `dpl-${name}`];
    await makeDisk(path.join(made, 'erofs'), archive, ...label, '--filesystem', 'erofs');
    await makeDisk(path.join(made, 'index.ext4'), await gzipLayout(images, { indexed: true }), ...label);
    await makeDisk(path.join(made, 'none.ext4'), archive, ...label, '--blobs', 'none');
    await makeDisk(path.join(made, 'tar.ext4'), archive, ...label, '--blobs', 'tar');
    await makeDisk(path.join(made, 'gzip.ext4'), await gzipLayout(images), ...label);
    await writeFile(path.join(made, 'archive.tar'), archive);
  });
  const file = (part: string): string => path.join(folder, part);
  return {
    gzip: file('gzip.ext4'),
    index: file('index.ext4'),
    tar: file('tar.ext4'),
    erofs: file('erofs'),
    none: file('none.ext4'),
    archive: file('archive.tar'),
  };
}

/**
 * The images as a registry has them.
 * @param options.indexed each below an index, with another platform and an attestation
 */
async function gzipLayout(
  images: readonly ArchiveImage[],
  { indexed = false }: { readonly indexed?: boolean } = {},
): Promise<Buffer> {
  const made = images.map(async ({ tags, layers, command }) => ({
    tags,
    layers: await Promise.all(layers.map(layerTar)),
    command,
  }));
  const layout = ociLayout(await Promise.all(made), 'gzip');
  return tarOf(indexed ? withIndexes(layout) : layout);
}

interface Listed {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * As BuildKit pushes images: what a name leads to lists the image, one for another machine, and what attests the first.
 */
function withIndexes(layout: ReadonlyMap<string, Buffer>): Map<string, Buffer> {
  const files = new Map(layout);
  const blob = (document: object, mediaType: string): Listed => {
    const content = Buffer.from(JSON.stringify(document));
    files.set(`blobs/sha256/${digestOf(content)}`, content);
    return { mediaType, digest: `sha256:${digestOf(content)}`, size: content.length };
  };
  const { manifests } = JSON.parse(layout.get('index.json')?.toString() ?? '') as { manifests: readonly Listed[] };
  const indexed = manifests.map(({ annotations, ...descriptor }) => {
    // Of these a registry has more, and this layout nothing.
    const elsewhere = (what: string): Listed => ({
      ...descriptor,
      digest: `sha256:${digestOf(Buffer.from(`${descriptor.digest} ${what}`))}`,
      size: 1234,
    });
    const index = blob(
      {
        schemaVersion: 2,
        mediaType: INDEX,
        manifests: [
          { ...descriptor, platform: { architecture: 'amd64', os: 'linux' } },
          { ...elsewhere('arm64'), platform: { architecture: 'arm64', os: 'linux' } },
          {
            ...elsewhere('attestation'),
            annotations: {
              'vnd.docker.reference.digest': descriptor.digest,
              'vnd.docker.reference.type': 'attestation-manifest',
            },
            platform: { architecture: 'unknown', os: 'unknown' },
          },
        ],
      },
      INDEX,
    );
    return { ...index, annotations };
  });
  return files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: indexed })));
}
