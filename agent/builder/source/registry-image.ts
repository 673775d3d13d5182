import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexOf, isDigest, sha256 } from '../../docker/ids.ts';
import { fullName } from '../../docker/reference.ts';
import { PreloaderError } from '../../system/errors.ts';
import { isRecord } from '../../text/is-record.ts';
import type { Archive } from '../archive/archive.ts';
import { archiveError } from '../archive/archive-error.ts';
import { describeSource, type RegistrySource } from '../archive/image-source.ts';
import { MemberArchive, type Member } from '../archive/member-archive.ts';
import { blobEntry, MAX_MANIFEST_BYTES, OCI_INDEX } from '../archive/oci-index.ts';
import type { ImageClients } from './image-clients.ts';

/** An index whose entries name no platform has each of them fetched. */
const MAX_FETCHED = 40;
const OCI = 'application/vnd.oci.image';

/**
 * An image of a registry as an OCI layout. Manifests and configurations are fetched when they are read. Layers are
 * there once they were given.
 */
export class RegistryImage implements Archive {
  readonly name: string;
  /** The digest of the manifest or index that the name leads to. */
  readonly digest: string;
  readonly #repository: string;
  readonly #clients: ImageClients;
  readonly #folder: string;
  readonly #members = new Map<string, Member>();
  /** The manifest that names a configuration, by the configuration's entry. */
  readonly #configs = new Map<string, string>();

  /**
   * Asks the registry what the name leads to.
   * @param folder where manifests and configurations are put
   * @throws PreloaderError
   */
  static async resolve(source: RegistrySource, clients: ImageClients, folder: string): Promise<RegistryImage> {
    const { repository, tag, digest } = source;
    const name = describeSource(source);
    const asked = `docker://${fullName(repository)}${digest === undefined ? `:${tag ?? 'latest'}` : `@${digest}`}`;
    const bytes = await clients.inspect('manifest', asked, name, MAX_MANIFEST_BYTES);
    const found = sha256(bytes);
    if (digest !== undefined && found !== digest)
      throw new PreloaderError(
        'BUILD_FAILED',
        `${name}: expected a manifest with digest ${digest}, found ${found}: the registry, or a mirror of it, is at fault`,
      );
    const reference = tag === undefined ? undefined : `${repository}:${tag}`;
    return new RegistryImage(name, { digest: found, bytes, repository, reference }, clients, folder);
  }

  private constructor(
    name: string,
    top: {
      readonly digest: string;
      readonly bytes: Buffer;
      readonly repository: string;
      readonly reference: string | undefined;
    },
    clients: ImageClients,
    folder: string,
  ) {
    this.name = name;
    this.digest = top.digest;
    this.#repository = `docker://${fullName(top.repository)}`;
    this.#clients = clients;
    this.#folder = folder;
    const { reference, digest, bytes } = top;
    const annotations = reference === undefined ? {} : { annotations: { 'io.containerd.image.name': reference } };
    const descriptor = { mediaType: mediaTypeOf(name, bytes), digest, size: bytes.length, ...annotations };
    this.#put(OCI_INDEX, Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [descriptor] })));
    this.#putManifest(digest, bytes);
  }

  has(entry: string): boolean {
    return this.#members.has(entry);
  }

  sizeOf(entry: string): number {
    return this.#whole.sizeOf(entry);
  }

  async read(entry: string, limitBytes: number): Promise<Buffer> {
    if (!this.has(entry)) await this.#fetch(entry, limitBytes);
    return await this.#whole.read(entry, limitBytes);
  }

  startOf(entry: string, length: number): Buffer {
    return this.#whole.startOf(entry, length);
  }

  stream(entry: string): AsyncIterable<Uint8Array> {
    return this.#whole.stream(entry);
  }

  /** None of its files are the user's. */
  readFrom(): boolean {
    return false;
  }

  /** The manifest of its image, as skopeo names it. @param digest that of the manifest */
  imageAt(digest: string): string {
    return `${this.#repository}@${digest}`;
  }

  /** The same with layers. @param blobs where they are, by digest */
  withLayers(blobs: ReadonlyMap<string, { readonly path: string; readonly sizeBytes: number }>): Archive {
    const members = new Map(this.#members);
    for (const [digest, blob] of blobs) members.set(blobEntry(digest), { ...blob, offset: 0 });
    return new MemberArchive(this.name, members, new Map());
  }

  get #whole(): Archive {
    return new MemberArchive(this.name, this.#members, new Map());
  }

  /** What indexes and manifests name: manifests and configurations. */
  async #fetch(entry: string, limitBytes: number): Promise<void> {
    if (this.#members.size > MAX_FETCHED)
      throw archiveError(this.name, `expected at most ${MAX_FETCHED} manifests and configurations, found more`);
    const manifest = this.#configs.get(entry);
    if (manifest === undefined) {
      const digest = `sha256:${entry.slice(blobEntry('sha256:').length)}`;
      this.#putManifest(digest, await this.#inspect('manifest', digest, limitBytes));
    } else this.#put(entry, await this.#inspect('config', manifest, limitBytes));
  }

  async #inspect(what: 'manifest' | 'config', digest: string, limitBytes: number): Promise<Buffer> {
    return await this.#clients.inspect(what, this.imageAt(digest), this.name, limitBytes);
  }

  #putManifest(digest: string, bytes: Buffer): void {
    this.#put(blobEntry(digest), bytes);
    const { config } = documentIn(bytes);
    const configDigest = isRecord(config) ? config['digest'] : undefined;
    if (isDigest(configDigest)) this.#configs.set(blobEntry(configDigest), digest);
  }

  #put(entry: string, bytes: Buffer): void {
    const path = join(this.#folder, `${hexOf(this.digest)}-${entry.replaceAll('/', '-')}`);
    writeFileSync(path, bytes, { mode: 0o600 });
    this.#members.set(entry, { path, offset: 0, sizeBytes: bytes.length });
  }
}

/** The media type of a manifest or index, which OCI's need not have in them. @throws PreloaderError if it is neither */
function mediaTypeOf(name: string, bytes: Buffer): string {
  const { mediaType, manifests, config, schemaVersion } = documentIn(bytes);
  if (typeof mediaType === 'string' && schemaVersion === 2) return mediaType;
  if (schemaVersion === 2 && Array.isArray(manifests)) return `${OCI}.index.v1+json`;
  if (schemaVersion === 2 && isRecord(config)) return `${OCI}.manifest.v1+json`;
  throw archiveError(
    name,
    schemaVersion === 1
      ? 'expected a manifest of schema 2, found schema 1, of before 2016: push the image again with a newer Docker'
      : 'expected the manifest of an image, found something else',
  );
}

function documentIn(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = JSON.parse(bytes.toString('utf8'));
    return isRecord(document) ? document : {};
  } catch {
    return {};
  }
}
