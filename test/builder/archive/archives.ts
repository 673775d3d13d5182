import { createHash } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { makeTar, type MadeEntry } from '../tar/make-tar.ts';

export interface ArchiveImage {
  readonly tags: readonly string[];
  /** Tars, base first. */
  readonly layers: readonly Uint8Array[];
  /** `sh` where absent. */
  readonly command?: readonly string[] | undefined;
}

const LAYER_TYPES = { none: 'tar', gzip: 'tar+gzip', zstd: 'tar+zstd' } as const;

/** A `docker save` archive as docker up to 24 writes it, a repeated layer as a symlink. */
export function savedArchive(images: readonly ArchiveImage[]): Buffer {
  const files: MadeEntry[] = [];
  const manifest: unknown[] = [];
  let number = 0;
  const places = new Map<string, string>();
  for (const { tags, layers } of images) {
    const { config, id } = imageConfig(layers);
    const entries = layers.map((tar) => {
      const name = `${String(number++).padStart(64, '0')}/layer.tar`;
      const first = places.get(digestOf(tar));
      files.push(first === undefined ? { name, content: tar } : { name, type: '2', linkName: `../${first}` });
      if (first === undefined) places.set(digestOf(tar), name);
      return name;
    });
    files.push({ name: `${id}.json`, content: config });
    manifest.push({ Config: `${id}.json`, RepoTags: tags.length === 0 ? null : tags, Layers: entries });
  }
  files.push({ name: 'manifest.json', content: JSON.stringify(manifest) });
  return makeTar(files);
}

/** The files of an OCI layout, by path. Each image is named by `name`, as containerd's tools write it. */
export function ociLayout(images: readonly ArchiveImage[], compression: keyof typeof LAYER_TYPES): Map<string, Buffer> {
  const files = new Map<string, Buffer>([['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')]]);
  const blob = (
    content: Uint8Array,
    mediaType: string,
  ): { readonly mediaType: string; readonly digest: string; readonly size: number } => {
    files.set(`blobs/sha256/${digestOf(content)}`, Buffer.from(content));
    return { mediaType, digest: `sha256:${digestOf(content)}`, size: content.length };
  };
  const manifests = images.flatMap(({ tags, layers, command }) => {
    const { config } = imageConfig(layers, command);
    const compress = {
      none: (tar: Uint8Array) => tar,
      gzip: (tar: Uint8Array) => gzipSync(tar),
      zstd: (tar: Uint8Array) => zstdCompressSync(tar),
    }[compression];
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: blob(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((tar) =>
        blob(compress(tar), `application/vnd.oci.image.layer.v1.${LAYER_TYPES[compression]}`),
      ),
    };
    const descriptor = blob(Buffer.from(JSON.stringify(manifest)), manifest.mediaType);
    return tags.length === 0
      ? [descriptor]
      : tags.map((tag) => ({ ...descriptor, annotations: { 'io.containerd.image.name': tag } }));
  });
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
  return files;
}

/** Puts an archive's files into a tar. */
export function tarOf(files: ReadonlyMap<string, Buffer>): Buffer {
  return makeTar([...files].map(([name, content]) => ({ name, content })));
}

export function imageConfig(
  layers: readonly Uint8Array[],
  command: readonly string[] = ['sh'],
): { readonly config: Buffer; readonly id: string } {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      created: '2020-01-02T03:04:05Z',
      config: { Cmd: command, Env: ['PATH=/bin'] },
      history: layers.map((_, index) => ({ created: '2020-01-02T03:04:05Z', created_by: `layer ${index + 1}` })),
      rootfs: { type: 'layers', diff_ids: layers.map((tar) => `sha256:${digestOf(tar)}`) },
    }),
  );
  return { config, id: digestOf(config) };
}

export function digestOf(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
