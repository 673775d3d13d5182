import { createHash } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cleanUpLater } from '../../support/cleanup.ts';

/** What a registry says that anybody may run. */
export interface Lies {
  /** The manifest that it gives whatever is asked for. */
  readonly manifest: Buffer;
  readonly mediaType: string;
  readonly blobs: ReadonlyMap<string, Blob>;
}

/** Bytes, or what is answered in another way. */
type Blob = Buffer | ((response: ServerResponse) => void);

export interface LyingRegistry {
  /** `127.0.0.1:PORT`, without TLS. */
  readonly address: string;
  lies: Lies | undefined;
}

export const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Starts a registry on the loopback interface that checks nothing of what it gives. */
export async function startLyingRegistry(): Promise<LyingRegistry> {
  const server = createServer((request, response) => {
    const [, kind, reference = ''] = /\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
    const { lies } = registry;
    if (kind === undefined || lies === undefined) return void response.writeHead(kind === undefined ? 200 : 404).end();
    const found = kind === 'manifests' ? lies.manifest : lies.blobs.get(reference);
    if (typeof found === 'function') return found(response);
    if (found === undefined) return void response.writeHead(404).end();
    response.writeHead(200, {
      'content-type': kind === 'manifests' ? lies.mediaType : 'application/octet-stream',
      'content-length': found.length,
    });
    response.end(request.method === 'HEAD' ? undefined : found);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUpLater('the lying registry', () => {
    server.closeAllConnections();
    server.close();
  });
  const registry: LyingRegistry = {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    lies: undefined,
  };
  return registry;
}
