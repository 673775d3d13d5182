import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { hexOf } from '../../docker/ids.ts';
import { plural } from '../../text/plural.ts';

/** Where skopeo copies to. */
export interface ReceiverAddress {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** A file with the credentials for it, as of `skopeo login`. */
  readonly authFile: string;
}

/** What is expected of a copy. */
export interface Expected {
  /** The sizes of the blobs that are to come, by digest. */
  readonly blobs: ReadonlyMap<string, number>;
  /** Is called with the number of bytes that came. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * A registry on the loopback interface, to which skopeo copies. So an image comes with the manifest and the layers that
 * its registry has, unchanged, and what this one says to have already is not fetched: skopeo's folders and layouts get
 * everything, or another manifest. Each blob is checked against its digest and its size as it comes. Whoever does not
 * have the file with the password gets nothing and leaves nothing.
 */
export class BlobReceiver {
  readonly #folder: string;
  readonly #password = randomBytes(24).toString('hex');
  readonly #server = createServer(
    // A large blob takes as long as it takes, and skopeo keeps connections between two of them.
    { requestTimeout: 0, keepAliveTimeout: 0 },
    (request, response) => void this.#answer(request, response),
  );
  /** The sizes of blobs that have come, by digest. */
  readonly #there = new Map<string, number>();
  /** Uploads that have begun, each with the file for it. */
  readonly #uploads = new Map<string, Upload>();
  #expected: Expected = { blobs: new Map(), onBytes: () => undefined };
  #fault: unknown;
  #refused: string | undefined;

  /** @param folder where the blobs are put, which is made */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder);
  }

  /** Begins to listen. @param authFile is written, for its owner alone */
  async listen(authFile: string): Promise<ReceiverAddress> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    const bound = this.#server.address();
    const address = `127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`;
    const auth = Buffer.from(`build:${this.#password}`).toString('base64');
    writeFileSync(authFile, JSON.stringify({ auths: { [address]: { auth } } }), { flag: 'wx', mode: 0o600 });
    return { address, authFile };
  }

  /** What comes next. Blobs that are not among it are told to be there. */
  expect(expected: Expected): void {
    this.#expected = expected;
    this.#fault = undefined;
    this.#refused = undefined;
  }

  hasBlob(digest: string): boolean {
    return this.#there.has(digest);
  }

  /** Where a blob is, and how large. */
  blob(digest: string): { readonly path: string; readonly sizeBytes: number } {
    return { path: this.#path(digest), sizeBytes: this.#there.get(digest) ?? 0 };
  }

  /** Why bytes could not be written, if that was so. */
  get fault(): unknown {
    return this.#fault;
  }

  /** What is wrong with what came, if it was not taken. */
  get refused(): string | undefined {
    return this.#refused;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** The calls of a push (OCI distribution spec, Pushing blobs), as far as skopeo makes them. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const reply = (status: number, headers: Readonly<Record<string, string>> = {}): void =>
      void response.writeHead(status, { 'docker-distribution-api-version': 'registry/2.0', ...headers }).end();
    try {
      if (!this.#isOurs(request)) return reply(401, { 'www-authenticate': 'Basic realm="build"' });
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://build');
      const last = pathname.slice(pathname.lastIndexOf('/') + 1);
      switch (request.method) {
        case 'GET':
          return reply(pathname === '/v2/' ? 200 : 404);
        case 'HEAD': {
          const sizeBytes = this.#expected.blobs.get(last);
          const isThere = sizeBytes === undefined || this.hasBlob(last);
          return isThere ? reply(200, { 'content-length': String(sizeBytes ?? 0) }) : reply(404);
        }
        case 'POST': {
          const id = randomBytes(8).toString('hex');
          this.#uploads.set(id, new Upload(join(this.#folder, `upload-${id}`)));
          return reply(202, { location: `/v2/build/blobs/uploads/${id}` });
        }
        case 'PATCH':
          return reply((await this.#take(last, request)) ? 202 : 400, { location: `/v2/build/blobs/uploads/${last}` });
        case 'PUT':
          if (pathname.includes('/manifests/')) return await drained(request, () => reply(201));
          return reply(this.#finish(last, searchParams.get('digest') ?? '') ? 201 : 400);
        case undefined:
        default:
          return reply(405);
      }
    } catch (error) {
      this.#fault ??= error;
      request.destroy();
    }
  }

  #path(digest: string): string {
    return join(this.#folder, hexOf(digest));
  }

  #isOurs({ headers: { authorization = '' } }: IncomingMessage): boolean {
    const expected = Buffer.from(`Basic ${Buffer.from(`build:${this.#password}`).toString('base64')}`);
    const found = Buffer.from(authorization);
    return found.length === expected.length && timingSafeEqual(found, expected);
  }

  /** Writes the bytes of an upload. Of more than the largest blob that is expected, the rest is refused. */
  async #take(id: string, request: IncomingMessage): Promise<boolean> {
    const upload = this.#uploads.get(id);
    if (upload === undefined) return false;
    const limit = Math.max(0, ...this.#expected.blobs.values());
    try {
      for await (const piece of request as AsyncIterable<Buffer>) {
        if (upload.sizeBytes + piece.length > limit) {
          this.#refused = `expected a layer of at most ${limit} bytes, found more`;
          return this.#drop(id);
        }
        this.#write(upload, piece);
        this.#expected.onBytes(piece.length);
      }
      return true;
    } catch (error) {
      this.#drop(id);
      if (request.complete) throw error;
      return false;
    }
  }

  #write(upload: Upload, piece: Buffer): void {
    try {
      upload.write(piece);
    } catch (error) {
      this.#fault ??= error;
      throw error;
    }
  }

  #finish(id: string, digest: string): boolean {
    const upload = this.#uploads.get(id);
    if (upload === undefined) return false;
    const sizeBytes = this.#expected.blobs.get(digest);
    if (upload.sizeBytes !== sizeBytes) {
      if (sizeBytes !== undefined)
        this.#refused = `expected a layer of ${plural(sizeBytes, 'byte')}, as in its manifest, found ${upload.sizeBytes}`;
      return this.#drop(id);
    }
    if (upload.digest() !== digest) return this.#drop(id);
    this.#uploads.delete(id);
    upload.publish(this.#path(digest));
    this.#there.set(digest, upload.sizeBytes);
    return true;
  }

  /** @returns false, as what is answered */
  #drop(id: string): false {
    this.#uploads.get(id)?.remove();
    this.#uploads.delete(id);
    return false;
  }
}

async function drained(request: IncomingMessage, then: () => void): Promise<void> {
  for await (const _ of request);
  then();
}

/** A blob on its way. */
class Upload {
  readonly #path: string;
  readonly #fd: number;
  readonly #hash = createHash('sha256');
  sizeBytes = 0;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'wx', 0o600);
  }

  write(piece: Buffer): void {
    this.#hash.update(piece);
    for (let done = 0; done < piece.length;) done += writeSync(this.#fd, piece, done);
    this.sizeBytes += piece.length;
  }

  digest(): string {
    return `sha256:${this.#hash.digest('hex')}`;
  }

  publish(path: string): void {
    closeSync(this.#fd);
    renameSync(this.#path, path);
  }

  remove(): void {
    closeSync(this.#fd);
    rmSync(this.#path, { force: true });
  }
}
