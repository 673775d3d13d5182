import { after } from '../../system/clock.ts';
import { createConnection, type Socket } from 'node:net';
import { ResponseReader, type Response } from './response.ts';

/** How long one request may take. dockerd loads an archive of configurations within it, even on a busy machine. */
const TIMEOUT_MS = 60_000;

interface Waiting {
  readonly reader: ResponseReader;
  resolve(response: Response): void;
  reject(error: Error): void;
}

/**
 * One connection to dockerd's API that is never made again. The HTTP clients of Node and Bun connect when they see fit.
 * If dockerd has just ended, systemd holds its socket, and a connection to it would start dockerd again.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  #ended: Error | undefined;
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let close = (): void => undefined;
    this.closed = new Promise((resolve) => (close = resolve));
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => {
      this.#end(new Error('dockerd has closed the connection'));
      close();
    });
  }

  /** @throws system errors */
  static open(path: string): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.removeListener('error', reject);
        resolve(new Connection(socket));
      });
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Makes a request. Several at once are answered in turn. @throws Error if the connection ends before the answer */
  async request(method: 'GET' | 'POST', path: string, body?: Buffer): Promise<Response> {
    const answer = this.#ask(method, path, body);
    const cancel = after(TIMEOUT_MS, () =>
      this.#socket.destroy(
        new Error(`expected an answer to ${method} ${path} within ${TIMEOUT_MS / 1000} s, found none`),
      ),
    );
    try {
      return await answer;
    } finally {
      cancel();
    }
  }

  /** Makes a request whose answer does not end. `take` gets each piece as it comes. */
  stream(path: string, take: (text: string) => void): Promise<Response> {
    return this.#ask('GET', path, undefined, take);
  }

  #ask(method: string, path: string, body?: Buffer, take?: (text: string) => void): Promise<Response> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      this.#waiting.push({ reader: new ResponseReader(take), resolve, reject });
      const type = body === undefined ? '' : 'Content-Type: application/x-tar\r\n';
      this.#socket.write(
        `${method} ${path} HTTP/1.1\r\nHost: docker\r\n${type}Content-Length: ${body?.length ?? 0}\r\n\r\n`,
      );
      if (body !== undefined) this.#socket.write(body);
    });
  }

  #take(bytes: Buffer): void {
    let rest = bytes;
    try {
      while (rest.length > 0) {
        const [waiting] = this.#waiting;
        if (waiting === undefined) throw new Error('expected no answer without a request, found one');
        const after = waiting.reader.read(rest);
        if (after === undefined) return;
        rest = after;
        this.#waiting.shift();
        waiting.resolve(waiting.reader.response());
      }
    } catch (error) {
      this.#socket.destroy(error as Error);
    }
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#ended);
  }
}
