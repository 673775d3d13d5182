import { once } from 'node:events';
import { existsSync, watch } from 'node:fs';
import { execa } from 'execa';
import { cleanUpLater } from './cleanup.ts';
import { ensureDebianPackages } from './debian-packages.ts';

export interface NotifySocket {
  readonly path: string;
  /** All that has come so far, one behind the other. */
  received(): string;
  /**
   * Resolves once a datagram with this assignment, `READY=1`, has come, with the time of performance.now() in
   * milliseconds.
   */
  waitFor(assignment: string): Promise<number>;
  close(): Promise<void>;
}

/** Far more than any of our agents takes to say something. */
const LIMIT_SEC = 120;

/**
 * A service manager's notification socket (sd_notify(3)). socat receives, since Node has no datagram sockets of that
 * kind.
 */
export async function notifySocket(path: string): Promise<NotifySocket> {
  await ensureDebianPackages(['socat'], { install: true });
  const socat = execa('socat', ['-u', `UNIX-RECV:${path}`, 'STDOUT'], {
    reject: false,
    buffer: false,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // Datagrams come one behind the other with nothing between them, so the text as a whole is searched.
  let received = '';
  const waiting = new Map<string, (at: number) => void>();
  socat.stdout.on('data', (chunk: Buffer) => {
    received += chunk.toString();
    for (const [assignment, resolve] of waiting) if (received.includes(assignment)) resolve(performance.now());
  });
  const close = cleanUpLater(`notify socket ${path}`, async () => {
    socat.kill();
    await socat;
  });
  await waitForSocket(path, socat);
  return {
    path,
    received: () => received,
    waitFor: (assignment) =>
      new Promise((resolve, reject) => {
        if (received.includes(assignment)) return resolve(performance.now());
        const limit = setTimeout(
          () => reject(new Error(`expected ${assignment} within ${LIMIT_SEC} s, found:\n${received}`)),
          LIMIT_SEC * 1000,
        );
        waiting.set(assignment, (at) => {
          clearTimeout(limit);
          resolve(at);
        });
      }),
    close,
  };
}

async function waitForSocket(path: string, socat: PromiseLike<unknown>): Promise<void> {
  const ended = Promise.resolve(socat).then(() => {
    throw new Error(`${path}: expected socat to listen, but it ended`);
  });
  // It also ends when it is closed, much later, which is no error then.
  ended.catch(() => undefined);
  const watcher = watch(path.slice(0, path.lastIndexOf('/')));
  try {
    while (!existsSync(path))
      await Promise.race([ended, once(watcher, 'change', { signal: AbortSignal.timeout(10_000) })]);
  } finally {
    watcher.close();
  }
}
