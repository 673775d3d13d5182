import { readFileSync, writeFileSync } from 'node:fs';
import { connect, type IncomingHttpHeaders } from 'node:http2';
import { createConnection } from 'node:net';
import type { RecordedCall } from './recorded-calls.ts';

/**
 * Makes recorded calls again, with the same bytes, each as soon as those are answered that had been answered before it
 * was sent; and nothing else. usage: bare-client SOCKET CALLS RESULT. RESULT gets the milliseconds from the connection
 * to the last answer.
 */
const [socket = '', file = '', result = ''] = process.argv.slice(2);
const calls = (JSON.parse(readFileSync(file, 'utf8')) as readonly RecordedCall[]).map((call) => ({
  ...call,
  bytes: Buffer.from(call.body, 'base64'),
}));
const start = performance.now();
const session = connect('http://localhost', { createConnection: () => createConnection(socket) });
const answers: Promise<void>[] = [];
for (const call of calls) {
  for (const number of call.after) await answers[number];
  answers.push(
    new Promise((resolve, reject) => {
      const stream = session.request({ ':method': 'POST', ':path': call.path, ...call.headers });
      let status = '';
      const take = (headers: IncomingHttpHeaders): void => {
        if (headers['grpc-status'] !== undefined) status = String(headers['grpc-status']);
      };
      stream.on('response', take);
      stream.on('trailers', take);
      stream.resume();
      stream.on('error', reject);
      stream.on('close', () => {
        if (status === call.status) resolve();
        else reject(new Error(`${call.path}: expected the status ${call.status}, found ${status}`));
      });
      stream.end(call.bytes);
    }),
  );
}
await Promise.all(answers);
writeFileSync(result, String(performance.now() - start));
session.destroy();
