import { request } from 'node:http';
import { delay, monotonicUsec } from '../system/clock.ts';
import { isECONNREFUSED, isENOENT } from '../system/errors.ts';
import { parseJson } from '../text/parse-json.ts';
import { statusSchema, type StatusDocument } from './schema.ts';

const TIMEOUT_MS = 30_000;
/** The daemon begins to serve shortly after READY, because Docker does not have to wait for that. */
const PATIENCE_USEC = 1_000_000;
const RETRY_MS = 20;

export interface Answer {
  readonly status: StatusDocument;
  /** Exactly as received: a newer daemon's answer may have more fields. */
  readonly text: string;
}

/**
 * Asks the daemon for its status.
 * @throws system errors if no daemon answers; Error if the answer is not valid
 */
export async function fetchStatus(socketPath: string): Promise<Answer> {
  const deadline = monotonicUsec() + PATIENCE_USEC;
  for (;;) {
    try {
      const text = await askOnce(socketPath);
      return { status: parseJson(text, statusSchema), text };
    } catch (error) {
      if (!(isENOENT(error) || isECONNREFUSED(error)) || monotonicUsec() > deadline) throw error;
      await delay(RETRY_MS);
    }
  }
}

async function askOnce(socketPath: string): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const call = request(
      { socketPath, path: '/v1/status', timeout: TIMEOUT_MS, headers: { Connection: 'close' } },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () =>
          response.statusCode === 200
            ? resolve(text)
            : reject(new Error(`expected status 200, found ${response.statusCode ?? 'none'}: ${text.trim()}`)),
        );
      },
    );
    call.on('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    call.on('error', reject);
    call.end();
  });
}
