import { once } from 'node:events';
import {
  connect,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
  type ServerHttp2Session,
} from 'node:http2';
import { createConnection } from 'node:net';

/** A call of gRPC as it was made, to be made again. */
export interface RecordedCall {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What was sent, framed, in base64. */
  readonly body: string;
  /** `grpc-status` of the answer. */
  readonly status: string;
  /**
   * Of the calls before it, by number, those that had been answered when it was sent, and not yet when the one before
   * it was.
   */
  readonly after: readonly number[];
}

interface Recorder {
  /** All calls so far, in the order in which they were sent. */
  readonly calls: () => readonly RecordedCall[];
  close(): Promise<void>;
}

/** Passes calls on from one socket to another, and keeps them. @param from path of the socket to make */
export async function recordCalls(from: string, to: string): Promise<Recorder> {
  const sent: { readonly path: string; readonly headers: Record<string, string>; body: Buffer; status: string }[] = [];
  const after: number[][] = [];
  let answered: number[] = [];
  const server = createServer();
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    const client = connect('http://localhost', { createConnection: () => createConnection(to) });
    session.once('close', () => client.destroy());
    session.on('stream', (stream: ServerHttp2Stream, headers) => {
      const call = { path: String(headers[':path']), headers: plain(headers), body: Buffer.alloc(0), status: '' };
      const number = sent.push(call) - 1;
      after.push(answered);
      answered = [];
      const request = client.request(headers);
      stream.on('data', (data: Buffer) => {
        call.body = Buffer.concat([call.body, data]);
        request.write(data);
      });
      stream.on('end', () => request.end());
      const answer = (received: IncomingHttpHeaders): void => {
        const status = received['grpc-status'];
        if (status !== undefined) call.status = String(status);
      };
      let trailers: Record<string, string> = {};
      request.on('response', (received, flags) => {
        answer(received);
        // 1: END_STREAM, of an answer without messages.
        stream.respond({ ...received }, { waitForTrailers: (flags & 1) === 0, endStream: (flags & 1) !== 0 });
      });
      request.on('trailers', (received) => {
        answer(received);
        trailers = plain(received);
      });
      request.on('data', (data: Buffer) => stream.write(data));
      request.on('end', () => {
        answered.push(number);
        if (stream.writable) stream.end();
      });
      stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    });
  });
  server.listen(from);
  await once(server, 'listening');
  return {
    calls: () =>
      sent.map((call, number) => ({ ...call, body: call.body.toString('base64'), after: after[number] ?? [] })),
    close: async () => {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function plain(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      name.startsWith(':') || value === undefined ? [] : [[name, String(value)]],
    ),
  );
}
