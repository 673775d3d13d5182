import { linkSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import path from 'node:path';

/** A socket that is listened on by whoever has a descriptor of it, as systemd leaves one to a service. */
export interface ActivationSocket {
  readonly fd: number;
  /** Our own descriptor; the name stays. */
  close(): void;
}

/** Listens at a path, and accepts nobody. */
export async function activationSocket(socketPath: string): Promise<ActivationSocket> {
  mkdirSync(path.dirname(socketPath), { recursive: true });
  // Node removes the name that it has listened at.
  const first = `${socketPath}.first`;
  for (const name of [first, socketPath]) rmSync(name, { force: true });
  const server = createServer();
  server.listen(first);
  await once(server, 'listening');
  linkSync(first, socketPath);
  const { fd } = (server as unknown as { readonly _handle: { readonly fd: number } })._handle;
  return { fd, close: () => void server.close() };
}
