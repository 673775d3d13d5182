import { request } from 'node:http';
import type { StatusDocument } from './document.ts';

const TIMEOUT_MS = 30_000;

/**
 * Asks the daemon for its status.
 * @throws system errors where no daemon answers; Error where the answer is none
 */
export async function fetchStatus(socketPath: string): Promise<StatusDocument> {
  const body = await new Promise<string>((resolve, reject) => {
    const call = request({ socketPath, path: '/v1/status', timeout: TIMEOUT_MS, headers: { Connection: 'close' } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`status 200 expected, found ${response.statusCode ?? 'none'}: ${text.trim()}`))));
    });
    call.on('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    call.on('error', reject);
    call.end();
  });
  return JSON.parse(body) as StatusDocument;
}
