import { dirname } from 'node:path';
import { sha256 } from '../docker/ids.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { contentFault } from './disk-fault.ts';
import { parseManifest, readManifestBytes, type Manifest } from './manifest.ts';
import { readDisk, type DiskContent } from './read-disk.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { FolderReader } from './folder-reader.ts';

/**
 * Reads a disk whose content is pinned. Its manifest must have one of the digests. Each file that is read must be
 * listed in the manifest, with its digest, and nothing that is listed may be missing. One bad entry makes the whole
 * disk unusable.
 * @param found its manifest, if that was already read
 * @throws PreloaderError DISK_CONTENT, and as `readDisk`
 */
export function readPinnedDisk(
  label: string,
  root: string,
  digests: readonly string[],
  found: ManifestBytes | undefined = manifestBytes(root),
): DiskContent {
  // The digest is compared before anything in the manifest counts, even whether it can be parsed.
  if (found === undefined || !digests.includes(found.digest)) {
    throw new PreloaderError(
      'DISK_CONTENT',
      `expected a manifest with digest ${digests.join(' or ')}, found ${found?.digest ?? 'none'}`,
    );
  }
  const manifest = parseManifest(found.bytes, found.digest);
  const files = new PinnedReader(root, manifest.manifest);
  const content = readDisk(label, files, manifest);
  files.check(content);
  return { ...content, pinned: true };
}

interface ManifestBytes {
  readonly bytes: Buffer;
  readonly digest: string;
}

function manifestBytes(root: string): ManifestBytes | undefined {
  const bytes = readManifestBytes(new FolderReader(root));
  return bytes === undefined ? undefined : { bytes, digest: sha256(bytes) };
}

/** Compares each file of a disk with the manifest. The bytes that are compared are those that are used. */
class PinnedReader extends FolderReader {
  readonly #manifest: Manifest;
  #fault: string | undefined;
  /** The folders of listed files. */
  #folders: ReadonlySet<string> | undefined;
  #missingFolder: string | undefined;

  constructor(root: string, manifest: Manifest) {
    super(root);
    this.#manifest = manifest;
  }

  /** The digest of a file in the manifest. Undefined if it is not listed. */
  digestOf(path: string): string | undefined {
    const { metadata } = this.#manifest;
    return Object.hasOwn(metadata, path) ? metadata[path] : undefined;
  }

  #report(fault: string): void {
    this.#fault ??= fault;
  }

  /** @throws PreloaderError DISK_CONTENT if anything that was read is not as the manifest has it, or was left out */
  check({
    images,
    layers,
  }: {
    readonly images: ReadonlyMap<string, unknown>;
    readonly layers: ReadonlyMap<string, unknown>;
  }): void {
    for (const { id } of this.#manifest.images)
      if (!images.has(id)) this.#report(`expected image ${id}, which the manifest lists, found none that can be used`);
    for (const { chainId } of this.#manifest.layers)
      if (!layers.has(chainId))
        this.#report(`expected layer ${chainId}, which the manifest lists, found none that can be used`);
    if (this.#missingFolder !== undefined) this.#report(this.#missingFolder);
    if (this.#fault !== undefined) throw new PreloaderError('DISK_CONTENT', this.#fault);
  }

  override kindOf(path: string): ReturnType<FilesystemReader['kindOf']> {
    const kind = super.kindOf(path);
    if (kind !== 'folder') {
      this.#folders ??= new Set(Object.keys(this.#manifest.metadata).map(dirname));
      if (this.#folders.has(path))
        this.#missingFolder ??= `${path}: expected a folder with files that the manifest lists, found none`;
    }
    return kind;
  }

  override read(path: string, limitBytes: number): Buffer | undefined {
    const bytes = this.#noting(() => super.read(path, limitBytes));
    const found = bytes === undefined ? undefined : sha256(bytes);
    const expected = this.digestOf(path);
    if (found !== expected) this.#report(contentFault(path, expected, found));
    return bytes;
  }

  override sizeOf(path: string): number | undefined {
    const size = this.#noting(() => super.sizeOf(path));
    const expected = this.digestOf(path);
    // The content of a tar-split is compared when it is copied.
    if ((size === undefined) !== (expected === undefined))
      this.#report(contentFault(path, expected, size === undefined ? undefined : 'one'));
    return size;
  }

  #noting<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      this.#report(messageOf(error));
      throw error;
    }
  }
}
