import { request } from 'node:http';

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/**
 * One request to a dockerd's API over its socket: a tenth of what starting the CLI costs.
 * @throws where the connection breaks off
 */
export function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const isTar = body instanceof Uint8Array;
    const headers = body === undefined ? {} : { 'content-type': isTar ? 'application/x-tar' : 'application/json' };
    const asked = request({ socketPath, method, path, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('the answer broke off')));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts) }));
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : isTar ? body : JSON.stringify(body));
  });
}

/** What `docker image prune --all` asks for. */
export const PRUNE_ALL = `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`;

/** An answer that says no. */
export class Refused extends Error {}

/**
 * The same, of which only success is expected; `docker load` and others tell of failures in a stream that began well.
 * @throws Refused
 */
export async function tell(socketPath: string, method: string, path: string, body?: unknown): Promise<Buffer> {
  const answer = await ask(socketPath, method, path, body);
  const text = (): string => answer.body.subarray(-2000).toString();
  if (answer.status >= 300 && answer.status !== 304) throw new Refused(`${method} ${path}: ${answer.status} ${text()}`);
  if (/^\{.*"error(Detail)?":/m.test(answer.body.subarray(0, 200_000).toString('latin1')))
    throw new Refused(`${method} ${path}: ${text()}`);
  return answer.body;
}

export async function askFor<T>(socketPath: string, path: string): Promise<T> {
  return JSON.parse((await tell(socketPath, 'GET', path)).toString()) as T;
}
