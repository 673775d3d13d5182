import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { cleanUpLater } from './cleanup.ts';
import { layerTar, type LayerEntry } from './docker-archive.ts';

/** What a registry does instead of what it should. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** Ends the connection after so many bytes of the blob. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Sends nothing more after so many bytes. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** Sends as many bytes as it should, of which one is another. */
  | { readonly kind: 'wrong' }
  /** Sends zeros without end. */
  | { readonly kind: 'endless' }
  | { readonly kind: 'slow'; readonly bytesPerSec: number };

/** An image to be served. */
export interface ServedImage {
  /** As in `team/app`. */
  readonly repository: string;
  readonly tag: string;
  readonly layers: readonly (readonly LayerEntry[])[];
  readonly mediaTypes?: 'docker' | 'oci';
  readonly architecture?: string;
  /** `gzip` by default. */
  readonly compression?: keyof typeof COMPRESSIONS;
}

interface Blob {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

const TYPES = {
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar',
  },
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar',
  },
} as const;
const COMPRESSIONS = {
  none: { compress: (tar: Uint8Array) => Buffer.from(tar), docker: '', oci: '' },
  gzip: { compress: (tar: Uint8Array) => gzipSync(tar), docker: '.gzip', oci: '+gzip' },
  zstd: { compress: (tar: Uint8Array) => zstdCompressSync(tar), docker: '.zstd', oci: '+zstd' },
} as const;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const PIECE_BYTES = 64 * 1024;

/** The digest by which registries name what has these bytes. */
export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A registry of our own on the loopback interface, that counts what it sends and does as the test says. */
export class FaultyRegistry {
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #blobs = new Map<string, Blob>();
  readonly #tags = new Map<string, string>();
  address = '';
  /** What was asked for, as `METHOD path`. */
  readonly asked: string[] = [];
  /** Bytes of layers that were sent. */
  layerBytes = 0;
  /** Decides what happens to a request. @param attempt how often the same was asked for before */
  fault: (path: string, attempt: number) => Fault | undefined = () => undefined;

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.address = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    cleanUpLater('a faulty registry', () => {
      this.#server.closeAllConnections();
      this.#server.close();
    });
  }

  /** Serves an image. @returns the digest of its manifest, and its layers' blobs, base first */
  async add(image: ServedImage): Promise<{ readonly manifest: string; readonly layers: readonly string[] }> {
    const { repository, tag, mediaTypes = 'docker', architecture = 'amd64', compression = 'gzip' } = image;
    const types = TYPES[mediaTypes];
    const tars = await Promise.all(image.layers.map((entries) => layerTar(entries)));
    const { compress, ...endings } = COMPRESSIONS[compression];
    const layers = tars.map((tar) => this.#put(compress(tar), `${types.layer}${endings[mediaTypes]}`));
    const config = this.#put(
      Buffer.from(
        JSON.stringify({
          architecture,
          os: 'linux',
          config: {},
          rootfs: { type: 'layers', diff_ids: tars.map(digestOf) },
        }),
      ),
      types.config,
    );
    const manifest = this.#put(
      Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: types.manifest, config, layers })),
      types.manifest,
    );
    this.#tags.set(`${repository}:${tag}`, manifest.digest);
    return { manifest: manifest.digest, layers: layers.map(({ digest }) => digest) };
  }

  /** Serves an index of manifests that are there. @returns its digest */
  addIndex(name: string, manifests: readonly { readonly digest: string; readonly architecture?: string }[]): string {
    const index = this.#put(
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: INDEX,
          manifests: manifests.map(({ digest, architecture }) => {
            const blob = this.#blobs.get(digest);
            return {
              mediaType: blob?.mediaType,
              digest,
              size: blob?.bytes.length,
              ...(architecture === undefined ? {} : { platform: { os: 'linux', architecture } }),
            };
          }),
        }),
      ),
      INDEX,
    );
    this.#tags.set(name, index.digest);
    return index.digest;
  }

  /** Serves anything as a manifest. */
  addManifest(name: string, bytes: Buffer, mediaType: string): void {
    this.#tags.set(name, this.#put(bytes, mediaType).digest);
  }

  #put(
    bytes: Buffer,
    mediaType: string,
  ): { readonly mediaType: string; readonly digest: string; readonly size: number } {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, { bytes, mediaType });
    return { mediaType, digest, size: bytes.length };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const call = `${request.method ?? ''} ${path}`;
    const attempt = this.asked.filter((one) => one === call).length;
    this.asked.push(call);
    const fault = this.fault(path, attempt);
    if (fault?.kind === 'status') return void response.writeHead(fault.status, fault.headers).end();
    if (path === '/v2/') return void response.writeHead(200).end('{}');
    const found = /^\/v2\/(.+)\/(?:manifests|blobs)\/([^/]+)$/.exec(path);
    const [, repository = '', name = ''] = found ?? [];
    const digest = name.startsWith('sha256:') ? name : (this.#tags.get(`${repository}:${name}`) ?? '');
    const blob = this.#blobs.get(digest);
    if (blob === undefined)
      return void response
        .writeHead(404, { 'content-type': 'application/json' })
        .end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    await this.#send(blob, digest, request, response, fault).catch(() => undefined);
  }

  async #send(
    { bytes, mediaType }: Blob,
    digest: string,
    request: IncomingMessage,
    response: ServerResponse,
    fault: Exclude<Fault, { readonly kind: 'status' }> | undefined,
  ): Promise<void> {
    const first = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const headers = { 'content-type': mediaType, 'docker-content-digest': digest };
    if (fault?.kind === 'endless') response.writeHead(200, headers);
    else if (first > 0)
      response.writeHead(206, {
        ...headers,
        'content-length': bytes.length - first,
        'content-range': `bytes ${first}-${bytes.length - 1}/${bytes.length}`,
      });
    else response.writeHead(200, { ...headers, 'content-length': bytes.length });
    const sent = fault?.kind === 'wrong' ? flipped(bytes) : bytes;
    const start = performance.now();
    const isLayer = mediaType.includes('rootfs') || mediaType.includes('layer');
    const put = async (piece: Buffer): Promise<void> => {
      if (isLayer) this.layerBytes += piece.length;
      if (!response.write(piece)) await new Promise((resolve) => void response.once('drain', resolve));
    };
    for (let at = first; at < bytes.length; at += PIECE_BYTES) {
      let piece = sent.subarray(at, at + PIECE_BYTES);
      if (fault?.kind === 'cut' || fault?.kind === 'stall') {
        piece = piece.subarray(0, Math.max(fault.afterBytes - at, 0));
        await put(piece);
        if (at + PIECE_BYTES < fault.afterBytes) continue;
        // What was written is to arrive before the end does.
        await after(100);
        if (fault.kind === 'cut') request.socket.destroy();
        return;
      }
      await put(piece);
      if (fault?.kind === 'slow') {
        const due = start + (1000 * (at + piece.length - first)) / fault.bytesPerSec;
        await after(Math.max(due - performance.now(), 0));
      }
    }
    while (fault?.kind === 'endless' && !request.socket.destroyed) await put(Buffer.alloc(PIECE_BYTES));
    response.end();
  }
}

function flipped(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  const middle = other.length >> 1;
  other.writeUInt8(other.readUInt8(middle) ^ 0xff, middle);
  return other;
}
