import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSocketServer, type Server as SocketServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { after } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { ensureFolder } from '../system/write-files.ts';
import { realPathOf } from '../system/real-path.ts';
import { giveSocketToDocker } from './socket-owner.ts';

/** The answers by path. Each gives its text, or undefined if there is none yet. */
export type Routes = Readonly<Record<string, { readonly type: string; readonly body: () => Body | Promise<Body> }>>;
type Body = string | undefined;

const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 5000;
/**
 * The limit for sending a request, and again for reading the answer. A slower client takes a place that others want.
 */
const CONNECTION_TIMEOUT_MS = 10_000;

/**
 * Serves the status over HTTP on a unix socket: the one at `path`, or the one on which the service manager listens and
 * which it has passed as `fd`. It is read-only: a client cannot make the agent do anything.
 */
export async function serveStatus(
  where: { readonly path: string; readonly fd: number | undefined },
  routes: Routes,
): Promise<SocketServer> {
  const answered = new WeakSet<Socket>();
  const connections = new Map<Socket, Clock>();
  const http = createServer((request, response) => {
    // One answer for each connection: a client that keeps asking but reads nothing would fill our memory with answers.
    if (answered.has(request.socket)) return;
    answered.add(request.socket);
    void answer(request, response, routes, connections.get(request.socket));
  });
  limit(http);
  // Under Bun, http.listen({ fd }) accepts connections and never answers. Passing it the connections of a plain server
  // works in both runtimes.
  const sockets = createSocketServer((socket) => {
    admit(socket, connections);
    http.emit('connection', socket);
  });
  if (where.fd === undefined) {
    ensureFolder(realPathOf(dirname(where.path)), 0o755);
    // Removes the socket of a killed daemon.
    rmSync(where.path, { force: true });
  }
  await new Promise<void>((resolve, reject) => {
    sockets.once('error', reject);
    sockets.listen(where.fd === undefined ? { path: where.path } : { fd: where.fd }, resolve);
  });
  giveSocketToDocker(where.path);
  return sockets;
}

/**
 * The time that a client has. It runs while we wait for the client, and stops while the client waits for us. The time
 * limits of `http` are not enough, because they only work if `http` itself listens.
 */
class Clock {
  readonly #socket: Socket;
  #cancel: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('timeout', () => socket.destroy());
    this.start();
  }

  start(): void {
    if (this.#socket.destroyed) return;
    this.#cancel = after(CONNECTION_TIMEOUT_MS, () => this.#socket.destroy());
    this.#socket.setTimeout(REQUEST_TIMEOUT_MS);
  }

  stop(): void {
    this.#cancel();
    this.#socket.setTimeout(0);
  }
}

/**
 * Accepts a connection. If there are too many, the oldest is closed: whoever asks now gets an answer, however many
 * others keep theirs open.
 */
function admit(socket: Socket, connections: Map<Socket, Clock>): void {
  const [oldest] = connections.keys();
  if (connections.size >= MAX_CONNECTIONS && oldest !== undefined) {
    connections.delete(oldest);
    oldest.destroy();
  }
  const clock = new Clock(socket);
  connections.set(socket, clock);
  socket.once('close', () => {
    clock.stop();
    connections.delete(socket);
  });
}

function limit(http: Server): void {
  http.requestTimeout = REQUEST_TIMEOUT_MS;
  http.headersTimeout = REQUEST_TIMEOUT_MS;
  http.keepAliveTimeout = REQUEST_TIMEOUT_MS;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: Routes,
  clock: Clock | undefined,
): Promise<void> {
  const [path = '/'] = (request.url ?? '/').split('?');
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (route === undefined)
    return send(
      response,
      404,
      'application/json',
      errorBody(`no such path: ${path}; there are ${Object.keys(routes).join(', ')}`),
    );
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('Allow', 'GET, HEAD');
    return send(response, 405, 'application/json', errorBody(`expected GET, found ${request.method ?? 'nothing'}`));
  }
  try {
    const body = await whileStopped(clock, route.body);
    if (body === undefined) send(response, 503, 'application/json', errorBody('no status yet'));
    else send(response, 200, route.type, body);
  } catch (error) {
    send(response, 500, 'application/json', errorBody(messageOf(error)));
  }
}

async function whileStopped<T>(clock: Clock | undefined, work: () => T | Promise<T>): Promise<T> {
  clock?.stop();
  try {
    return await work();
  } finally {
    clock?.start();
  }
}

function errorBody(message: string): string {
  return `${JSON.stringify({ error: message })}\n`;
}

let newest: { readonly text: string; readonly bytes: Buffer } = { text: '', bytes: Buffer.alloc(0) };

/** Gives the same bytes for the same text, so that many slow readers share one copy. */
function bytesOf(text: string): Buffer {
  if (newest.text !== text) newest = { text, bytes: Buffer.from(text) };
  return newest.bytes;
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  const bytes = bytesOf(body);
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': bytes.length, Connection: 'close' });
  response.end(response.req.method === 'HEAD' ? undefined : bytes);
}
