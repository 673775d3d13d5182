import { once } from 'node:events';
import type { Config } from '../config/config.ts';
import { bootRecord } from '../status/boot-times.ts';
import type { CurrentStatus } from '../status/current.ts';
import { metrics, METRICS_TYPE } from '../status/metrics.ts';
import type { StatusDocument } from '../status/schema.ts';
import { serveStatus } from '../status/server.ts';
import { planDocument } from '../status/status-document.ts';
import { after, monotonicUsec } from '../system/clock.ts';
import { listenFd } from '../system/listen-fds.ts';
import { notifyStatus } from '../system/notify.ts';
import type { Clients } from './clients.ts';
import { dockerdVersion } from './docker-service.ts';
import type { Look } from './look.ts';
import type { Start } from './start.ts';

/**
 * Answers whoever asks for the status.
 * @param fd the socket on which the service manager listens, or a copy of it
 */
export async function answerClients(
  start: Start,
  _status: StatusDocument,
  look: Look,
  current: CurrentStatus,
  fd: number | undefined = listenFd(),
): Promise<Clients> {
  const { config } = start;
  const server = await serveStatus(
    { path: config.statusSocket, fd },
    {
      '/v1/status': { type: 'application/json', body: () => withDockerd(current, () => current.text) },
      '/v1/plan': { type: 'application/json', body: planner(start, current, look) },
      '/v1/timeline': { type: 'application/json', body: () => timeline(config) },
      '/metrics': { type: METRICS_TYPE, body: () => withDockerd(current, () => metrics(current.document)) },
      '/healthz': { type: 'text/plain', body: () => `${current.document.state}\n` },
    },
  );
  return {
    over: once(server, 'close').then(() => undefined),
    follow: (came, gone) => {
      server.on('connection', (socket) => {
        came();
        socket.once('close', () => gone(0));
      });
    },
    beginAnew: () => undefined,
  };
}

function timeline(config: Config): string | undefined {
  const record = bootRecord(config);
  return record === undefined ? undefined : `${JSON.stringify(record)}\n`;
}

/** A client does not wait longer for dockerd's version. A later answer has it. */
const VERSION_PATIENCE_MS = 3000;

async function withDockerd(current: CurrentStatus, answer: () => string): Promise<string> {
  let cancel: () => void = () => undefined;
  const late = new Promise<null>((resolve) => {
    cancel = after(VERSION_PATIENCE_MS, () => resolve(null));
  });
  current.setDockerd(await Promise.race([dockerdVersion(), late]));
  cancel();
  return answer();
}

/** How long a plan is reused: clients may ask often, and each look reads the disks and the store. */
const PLAN_FRESH_USEC = 1_000_000;

/** What `run` would do now. It looks again, but only once for many clients. Nothing is changed. */
function planner({ isConfigured, result }: Start, current: CurrentStatus, look: Look): () => Promise<string> {
  const textOf = (run: Parameters<typeof planDocument>[0]): string => `${JSON.stringify(planDocument(run))}\n`;
  if (!isConfigured) {
    const failed = textOf({ findings: result.findings, disks: [], plan: undefined });
    return () => Promise.resolve(failed);
  }
  let made: { readonly atUsec: number; readonly looks: number; readonly text: Promise<string> } | undefined;
  const make = async (): Promise<string> => {
    const text = textOf(await look.run());
    // Replaces the message that the lock was waited for.
    notifyStatus(current.document.summary);
    return text;
  };
  return () => {
    const { looks } = look;
    if (made === undefined || made.looks !== looks || monotonicUsec() - made.atUsec > PLAN_FRESH_USEC)
      made = { atUsec: monotonicUsec(), looks, text: make() };
    return made.text;
  };
}
