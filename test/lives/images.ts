import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { makeTar } from '../builder/tar/make-tar.ts';
import { tarOf } from '../builder/archive/archives.ts';
import { layerTar, type LayerEntry } from '../support/docker-archive.ts';

/** An image that disks, archives and a registry have, the same to the byte. */
export interface LifeImage {
  /** How a life's list calls it, and what its file `/app` says. */
  readonly name: string;
  readonly id: string;
  readonly chains: readonly string[];
  readonly config: Buffer;
  /** Tars, the base first. */
  readonly layers: readonly Uint8Array[];
}

const digestOf = (bytes: Uint8Array | string): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * The layers' names in a store: of the first its digest, of each other that of the name below and its own (moby,
 * layer/layer.go).
 */
export function chainsOf(diffIDs: readonly string[]): string[] {
  const chains: string[] = [];
  for (const diffID of diffIDs) {
    const below = chains.at(-1);
    chains.push(below === undefined ? diffID : digestOf(`${below} ${diffID}`));
  }
  return chains;
}

/** @param note makes another image of the same layers */
export async function lifeImage(
  name: string,
  layers: readonly (readonly LayerEntry[])[],
  note = '',
): Promise<LifeImage> {
  const tars = await Promise.all(layers.map((entries) => layerTar(entries)));
  const diffIDs = tars.map(digestOf);
  const created = '2020-01-02T03:04:05Z';
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      created,
      config: { Cmd: ['sh'], Env: ['PATH=/bin'], Labels: { note } },
      history: diffIDs.map((_, number) => ({ created, created_by: `layer ${number + 1}` })),
      rootfs: { type: 'layers', diff_ids: diffIDs },
    }),
  );
  return { name, id: digestOf(config), chains: chainsOf(diffIDs), config, layers: tars };
}

const hexOf = (digest: string): string => digest.slice('sha256:'.length);

/** An archive as `docker save` writes it. */
export function savedArchive(images: readonly (readonly [image: LifeImage, tags: readonly string[]])[]): Buffer {
  const files = new Map<string, Buffer>();
  const manifest = images.map(([image, tags]) => {
    files.set(`${hexOf(image.id)}.json`, image.config);
    const layers = image.layers.map((tar) => {
      const file = `${hexOf(digestOf(tar))}/layer.tar`;
      files.set(file, Buffer.from(tar));
      return file;
    });
    return { Config: `${hexOf(image.id)}.json`, RepoTags: tags.length === 0 ? null : tags, Layers: layers };
  });
  return makeTar(
    [...files, ['manifest.json', Buffer.from(JSON.stringify(manifest))] as const].map(([name, content]) => ({
      name,
      content,
    })),
  );
}

/** What a registry has of an image: its manifest, and blobs by their digests. */
export interface Pushed {
  readonly manifest: Buffer;
  readonly mediaType: string;
  readonly digest: string;
  readonly blobs: ReadonlyMap<string, Buffer>;
}

export function pushed(image: LifeImage): Pushed {
  const blobs = new Map<string, Buffer>();
  const blob = (
    content: Buffer,
    mediaType: string,
  ): { readonly mediaType: string; readonly digest: string; readonly size: number } => {
    blobs.set(digestOf(content), content);
    return { mediaType, digest: digestOf(content), size: content.length };
  };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: blob(image.config, 'application/vnd.oci.image.config.v1+json'),
      layers: image.layers.map((tar) => blob(gzipSync(tar), 'application/vnd.oci.image.layer.v1.tar+gzip')),
    }),
  );
  return { manifest, mediaType, digest: digestOf(manifest), blobs };
}

/** An OCI layout as a tar, of which a disk has each name also with the digest, and the registry's layers. */
export function layoutArchive(images: readonly (readonly [image: LifeImage, tags: readonly string[]])[]): Buffer {
  const files = new Map<string, Buffer>([['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')]]);
  const manifests = images.flatMap(([image, tags]) => {
    const { manifest, mediaType, digest, blobs } = pushed(image);
    for (const [name, content] of [...blobs, [digest, manifest] as const])
      files.set(`blobs/sha256/${hexOf(name)}`, content);
    return tags.map((tag) => ({
      mediaType,
      digest,
      size: manifest.length,
      annotations: { 'io.containerd.image.name': tag },
    }));
  });
  files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
  return tarOf(files);
}
