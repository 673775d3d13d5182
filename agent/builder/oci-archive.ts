import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { fullName, tagOf } from '../docker/reference.ts';
import { hexOf } from '../docker/ids.ts';
import type { Descriptor } from '../docker/image-manifest.ts';
import { inMemory, writeTar, type TarContent, type TarMember } from './tar/write-tar.ts';

/** An image of an archive. */
interface NamedImage {
  /** The descriptor of its manifest, or of an index. */
  readonly target: Descriptor;
  /** `app:1`; none for an image without a name. */
  readonly references: readonly string[];
}

/** A blob of an archive, by its digest. */
export type Blobs = ReadonlyMap<string, TarContent>;

const CHUNK_BYTES = 1024 * 1024;

/**
 * The files of an OCI archive (image-spec, image-layout.md), by name, with the names of images as containerd and skopeo
 * look for them.
 * @param others more files, for tools that look for them
 */
export function ociArchive(
  blobs: Blobs,
  images: readonly NamedImage[],
  others: readonly TarMember[] = [],
): TarMember[] {
  const manifests = images.flatMap(({ target, references }) => {
    const { mediaType, digest, sizeBytes } = target;
    const entry = { mediaType, digest, size: sizeBytes };
    return references.length === 0
      ? [entry]
      : references.map((reference) => ({
          ...entry,
          annotations: {
            'io.containerd.image.name': fullName(reference),
            'org.opencontainers.image.ref.name': tagOf(reference) ?? '',
          },
        }));
  });
  const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests };
  return [
    folder('blobs/'),
    folder('blobs/sha256/'),
    ...[...blobs]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([digest, content]) => file(`blobs/sha256/${hexOf(digest)}`, content)),
    file('index.json', json(index)),
    ...others,
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
  ];
}

/** A file of an archive, in which times and owners mean nothing. */
export function file(name: string, content: TarContent): TarMember {
  return { name, mode: 0o644, owner: 0, content };
}

export function json(value: unknown): TarContent {
  return inMemory(Buffer.from(JSON.stringify(value)));
}

/** The content of a file of this machine. */
export function contentOf(path: string, sizeBytes: number): TarContent {
  return { sizeBytes, pieces: () => createReadStream(path, { highWaterMark: CHUNK_BYTES }) };
}

/** Writes a tar into a new file. @param onBytes is told of the bytes as they are written */
export async function writeTarFile(
  path: string,
  members: readonly TarMember[],
  onBytes: (bytes: number) => void = () => undefined,
): Promise<void> {
  const output = await open(path, 'wx', 0o644);
  try {
    for await (const piece of writeTar(members)) {
      await output.writeFile(piece);
      onBytes(piece.length);
    }
  } finally {
    await output.close();
  }
}

function folder(name: string): TarMember {
  return { name, mode: 0o755, owner: 0, content: undefined };
}
