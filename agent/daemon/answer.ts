import { ftruncateSync, writeSync } from 'node:fs';
import { rememberVersion, saidVersion } from '../docker/dockerd-version.ts';
import { after } from '../system/clock.ts';
import { CurrentStatus } from '../status/current.ts';
import { answerClients } from './answer-clients.ts';
import { rememberDockerd } from './docker-service.ts';
import { readStart } from './handed-start.ts';
import type { Clients } from './clients.ts';
import { exitWhenIdle } from './idle.ts';
import { Look } from './look.ts';

/** Whoever made the daemon start us may have gone meanwhile. */
const FIRST_CLIENT_MS = 5000;
/** Standard input, which is a file. */
const HANDED_FD = 0;
/** The same from its beginning on. */
const HANDED = '/proc/self/fd/0';

/**
 * Answers clients beside the daemon, which has started it for them and goes on by itself, until nobody has asked for a while.
 * @param fd the socket that the service manager listens on
 * @throws system errors
 */
export async function answer(fd: number, idleSec: number): Promise<void> {
  const { start, status, isPublished, lived } = readStart(HANDED);
  const newest = lived?.found ?? status;
  const current = new CurrentStatus(start.config, newest, isPublished ? `${JSON.stringify(newest)}\n` : undefined);
  if (lived !== undefined) current.goOn(lived.own);
  rememberDockerd(lived?.dockerd);
  rememberVersion(lived?.said);
  const clients = await answerClients(start, status, new Look(start, status, current), current, fd);
  const leave = exitWhenIdle(clients, idleSec, firstOf(clients), leaveVersion);
  // The daemon has found out something that we may not know.
  process.on('SIGHUP', leave);
  await clients.over;
}

/** What dockerd has said is left in the place of what we were given: to ask it reads all of its program, and the next one need not. */
function leaveVersion(): void {
  const said = saidVersion();
  if (said === undefined) return;
  ftruncateSync(HANDED_FD, 0);
  writeSync(HANDED_FD, JSON.stringify(said), 0);
}

/** Resolves with the first client, for which we were started. */
function firstOf(clients: Clients): Promise<void> {
  return new Promise((resolve) => {
    clients.follow(resolve, () => undefined);
    after(FIRST_CLIENT_MS, resolve);
  });
}
