import {
  connect,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { createConnection, type Socket } from 'node:net';
import { after } from '../../system/clock.ts';
import { messageOf } from '../../system/errors.ts';
import { GrpcError, statusOf } from './grpc-error.ts';

/** How large one answer may be. The lists of a store with ten thousand images are a tenth of this. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** What stands before each message: whether it is compressed, and its length (grpc/doc/PROTOCOL-HTTP2.md). */
const PREFIX_BYTES = 5;

export interface CallOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** From the call to the end of its answer. */
  readonly timeoutMs: number;
}

/** gRPC over one connection to a unix socket, which is never made again. After its first failure, all calls fail. */
export class GrpcConnection {
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  #failure: unknown;

  private constructor(session: ClientHttp2Session, socket: Socket) {
    this.#session = session;
    this.#socket = socket;
    session.on('error', (error) => (this.#failure ??= error));
  }

  /** Connects, and waits until the other side speaks HTTP/2. @throws GrpcError unavailable, deadlineExceeded */
  static open(path: string, timeoutMs: number): Promise<GrpcConnection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      const session = connect('http://localhost', { createConnection: () => socket });
      const connection = new GrpcConnection(session, socket);
      const fail = (error: GrpcError): void => {
        cancel();
        connection.close();
        reject(error);
      };
      const cancel = after(timeoutMs, () =>
        fail(new GrpcError('deadlineExceeded', `${path}: expected an answer within ${timeoutMs / 1000} s, found none`)),
      );
      session.once('error', (error) =>
        fail(new GrpcError('unavailable', `${path}: ${messageOf(error)}`, { cause: error })),
      );
      session.once('close', () => fail(new GrpcError('unavailable', `${path}: the connection was closed`)));
      session.once('remoteSettings', () => {
        cancel();
        resolve(connection);
      });
    });
  }

  /** Closes the socket, too, because the session would wait for the other side, which may never answer. */
  close(): void {
    this.#session.destroy();
    this.#socket.destroy();
  }

  /**
   * Makes a call: sends a message, and returns all messages of the answer.
   * @param path `/package.Service/Method`
   * @throws GrpcError
   */
  call(path: string, message: Buffer, { headers, timeoutMs }: CallOptions): Promise<readonly Buffer[]> {
    return new Promise((resolve, reject) => {
      let stream: ClientHttp2Stream;
      try {
        stream = this.#session.request(headersOf(path, headers, timeoutMs));
      } catch (error) {
        return reject(this.#unavailable(path, error));
      }
      const answer = new Answer(path);
      const cancel = after(timeoutMs, () => {
        answer.fail(
          new GrpcError('deadlineExceeded', `${path}: expected an answer within ${timeoutMs / 1000} s, found none`),
        );
        stream.close();
      });
      stream.on('response', (received) => answer.takeHeaders(received));
      stream.on('trailers', (received) => answer.takeHeaders(received));
      stream.on('data', (data: Buffer) => {
        if (!answer.takeData(data)) stream.close();
      });
      stream.on('error', (error) => answer.fail(this.#unavailable(path, error)));
      stream.on('close', () => {
        cancel();
        try {
          resolve(answer.messages(this.#failure));
        } catch (error) {
          reject(error as Error);
        }
      });
      // Both at once, because the end alone would be another frame, and another write.
      stream.end(framed(message));
    });
  }

  /**
   * Makes a call whose answers come as long as the connection lasts.
   * @param take gets each of them. If it throws, the call ends
   * @returns a promise that resolves when the call has ended, however that was
   */
  follow(path: string, message: Buffer, take: (answer: Buffer) => void): Promise<void> {
    return new Promise((resolve) => {
      let stream: ClientHttp2Stream;
      try {
        stream = this.#session.request(headersOf(path, {}));
      } catch {
        resolve();
        return;
      }
      let left: Buffer = Buffer.alloc(0);
      stream.on('data', (data: Buffer) => {
        left = Buffer.concat([left, data]);
        try {
          for (let answer = firstOf(left); answer !== undefined; answer = firstOf(left)) {
            left = left.subarray(PREFIX_BYTES + answer.length);
            take(answer);
          }
        } catch {
          stream.close();
        }
      });
      stream.on('error', () => stream.close());
      stream.on('close', () => resolve());
      stream.end(framed(message));
    });
  }

  #unavailable(path: string, error: unknown): GrpcError {
    return new GrpcError('unavailable', `${path}: ${messageOf(this.#failure ?? error)}`, { cause: error });
  }
}

/** How large one event may be. */
const MAX_EVENT_BYTES = 1024 * 1024;

/** The first message, or undefined if it is not complete yet. @throws Error if it is compressed or too large */
function firstOf(data: Buffer): Buffer | undefined {
  if (data.length < PREFIX_BYTES) return undefined;
  const end = PREFIX_BYTES + data.readUInt32BE(1);
  if (data[0] !== 0 || end > MAX_EVENT_BYTES) throw new Error('expected a plain message, found another');
  return data.length < end ? undefined : data.subarray(PREFIX_BYTES, end);
}

function headersOf(path: string, headers: Readonly<Record<string, string>>, timeoutMs?: number): OutgoingHttpHeaders {
  return {
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    ...(timeoutMs === undefined ? {} : { 'grpc-timeout': `${timeoutMs}m` }),
    ...headers,
  };
}

function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The answer to one call. */
class Answer {
  readonly #path: string;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  #status: string | undefined;
  #message = '';
  #failure: GrpcError | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Of several failures, the first one is told. */
  fail(error: GrpcError): void {
    this.#failure ??= error;
  }

  /** Takes the status. In an answer without messages, it is among the first headers. */
  takeHeaders(headers: IncomingHttpHeaders): void {
    const status = headers['grpc-status'];
    const http = headers[':status'];
    if (status !== undefined) {
      this.#status = String(status);
      this.#message = decoded(String(headers['grpc-message'] ?? ''));
    } else if (http !== undefined && String(http) !== '200') {
      this.fail(new GrpcError('unavailable', `${this.#path}: expected HTTP status 200, found ${String(http)}`));
    }
  }

  /** @returns whether more may come */
  takeData(data: Buffer): boolean {
    this.#bytes += data.length;
    if (this.#bytes > MAX_ANSWER_BYTES) {
      this.fail(
        new GrpcError('other', `${this.#path}: expected an answer of at most ${MAX_ANSWER_BYTES} bytes, found more`),
      );
      return false;
    }
    this.#parts.push(data);
    return true;
  }

  /** @param failure why the connection has ended, if it has @throws GrpcError */
  messages(failure: unknown): readonly Buffer[] {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#status === undefined) {
      const found = failure === undefined ? 'the end of the connection' : messageOf(failure);
      throw new GrpcError('unavailable', `${this.#path}: expected an answer with a status, found ${found}`);
    }
    if (this.#status !== '0')
      throw new GrpcError(
        statusOf(this.#status),
        `${this.#path}: ${this.#message === '' ? `status ${this.#status}` : this.#message}`,
      );
    return this.#unframed();
  }

  #unframed(): Buffer[] {
    const all = Buffer.concat(this.#parts);
    const messages: Buffer[] = [];
    for (let offset = 0; offset < all.length;) {
      const length = all.length < offset + PREFIX_BYTES ? Infinity : all.readUInt32BE(offset + 1);
      const end = offset + PREFIX_BYTES + length;
      if (end > all.length || all[offset] !== 0)
        throw new GrpcError('other', `${this.#path}: expected whole, uncompressed messages, found others`);
      messages.push(all.subarray(offset + PREFIX_BYTES, end));
      offset = end;
    }
    return messages;
  }
}

/** grpc-message is percent-encoded. */
function decoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
