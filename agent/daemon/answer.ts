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

/** How long to wait for the client for which the daemon has started us. It may have gone meanwhile. */
const FIRST_CLIENT_MS = 5000;
/** Standard input, which is a file with what the daemon has handed us. */
const HANDED_FD = 0;
/** The path by which it is read from its beginning. */
const HANDED = '/proc/self/fd/0';

/**
 * Answers clients beside the daemon, until nobody has asked for a while. The daemon has started this process for that,
 * and goes on by itself.
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

/**
 * Leaves what dockerd has said in the place of what we were given, so that the next one need not run dockerd, which is
 * slow.
 */
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
