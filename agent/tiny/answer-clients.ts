import type { Clients } from '../daemon/clients.ts';
import { handedNow, textOfStart } from '../daemon/handed-start.ts';
import type { Look } from '../daemon/look.ts';
import type { Start } from '../daemon/start.ts';
import { workUnderWay } from '../daemon/unbroken.ts';
import { rememberVersion, type SaidVersion } from '../docker/dockerd-version.ts';
import type { CurrentStatus } from '../status/current.ts';
import type { StatusDocument } from '../status/schema.ts';
import { giveSocketToDocker } from '../status/socket-owner.ts';
import { delay } from '../system/clock.ts';
import { BEGUN_ANEW } from '../system/environment.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { releaseProgram } from './memory.ts';
import { listenFd } from '../system/listen-fds.ts';
import { goOnAsWhole } from './after-ready.ts';
import { TinyBuffer } from './buffer.ts';
import { startChild, type Child } from './children.ts';
import { door } from './door.ts';
import { checked } from './errno.ts';
import { closeSync, fstatSync, readSync, writeSync } from './fs.ts';
import { whenReadable } from './loop.ts';
import { readFirst } from './read-first.ts';
import { becomeInstalled, isReplaced, whenBeyond, wholeProgram } from './whole-runtime.ts';

/**
 * How long the one that answers stays after the last client. So a client that asks every minute does not start it anew.
 */
const STAYS_SEC = 60;
const SIGHUP = 1;
/** How long clients wait for the next one after it has failed. */
const AGAIN_MS = 1000;

/**
 * agent/daemon/answer-clients.ts on the small engine. A client makes it start the whole program beside it, which
 * answers on the same socket, and leaves when nobody has asked for a while. This process stays what it is meanwhile, so
 * it loses nothing of what it follows.
 * @throws system errors
 */
export async function answerClients(
  start: Start,
  status: StatusDocument,
  look: Look,
  current: CurrentStatus,
): Promise<Clients> {
  const { config } = start;
  const fd = listenFd() ?? -1;
  giveSocketToDocker(config.statusSocket);
  let child: Child | undefined;
  whenBeyond(() => {
    const handed = handedNow(start, status, look, current);
    // The program that this process becomes would neither know of the child nor wait for it.
    child?.kill();
    // What was not finished is done again.
    return goOnAsWhole(isSettled(current) ? handed : { ...handed, lived: undefined });
  });
  // The child reads new results only from status.json, which may not have been written, or may be removed. So it
  // leaves.
  current.whenFound(() => void (child !== undefined && door.kill(child.pid, SIGHUP)));
  let isAsked = false;
  let isOutdated = false;
  let hasFailed = false;
  let [came, gone] = [(): void => undefined, (_agoSec: number): void => undefined];
  const beginAnew = async (): Promise<void> => {
    isOutdated = true;
    await workUnderWay();
    // Whoever is answered is answered to the end.
    if (child === undefined) becomeInstalled(start.isByClient ? undefined : `${BEGUN_ANEW}=1`);
  };
  const answer = async (): Promise<void> => {
    if (isOutdated || isReplaced()) await beginAnew();
    isAsked = true;
    came();
    // Before all is settled, the child would later tell of a phase that is over, so it does not stay.
    const staysSec = !isSettled(current)
      ? 0
      : config.idleExitSec > 0
        ? Math.min(STAYS_SEC, config.idleExitSec)
        : STAYS_SEC;
    try {
      const exit = await beside(fd, staysSec, textOfStart(handedNow(start, status, look, current)), (one) => {
        child = one;
      });
      expectSuccess(exit);
      hasFailed = false;
    } catch (error) {
      if (!hasFailed) log('INTERNAL', `clients are not answered, trying again: ${messageOf(error)}`);
      hasFailed = true;
      await delay(AGAIN_MS);
    }
    isAsked = false;
    gone(staysSec);
    if (isOutdated) await beginAnew();
    wait();
  };
  const wait = (): void => {
    const stop = whenReadable(fd, () => {
      stop();
      void answer();
    });
  };
  wait();
  return {
    over: new Promise(() => undefined),
    follow: (onCame, onGone) => {
      [came, gone] = [onCame, onGone];
      if (isAsked) came();
    },
    beginAnew: () => {
      if (child === undefined) void beginAnew();
      else {
        isOutdated = true;
        door.kill(child.pid, SIGHUP);
      }
    },
  };
}

function isSettled(current: CurrentStatus): boolean {
  return current.own.phase.phase === 'watch';
}

/**
 * Has the other program answer until it leaves.
 * @param tell gets it when it has begun, and undefined when it has ended
 * @returns its exit status @throws Error where it could not be started
 */
async function beside(
  fd: number,
  staysSec: number,
  handed: string,
  tell: (child: Child | undefined) => void,
): Promise<number> {
  const program = wholeProgram();
  readFirst(program);
  const file = checked(door.memoryFile(), 'memfd_create');
  try {
    const bytes = TinyBuffer.from(handed);
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
    const child = startChild([program, 'answer', String(fd), String(staysSec)], [file, 1, 2]);
    releaseProgram();
    tell(child);
    const exit = await child.ended;
    tell(undefined);
    if (exit === 0) takeVersion(file, bytes.length);
    return exit;
  } finally {
    closeSync(file);
  }
}

/** Takes what dockerd has said. If the child has asked dockerd, it has left that in the place of what it was handed. */
function takeVersion(file: number, handedBytes: number): void {
  const { size } = fstatSync(file);
  if (size >= handedBytes) return;
  const bytes = TinyBuffer.alloc(size);
  readSync(file, bytes, 0, size, 0);
  rememberVersion(JSON.parse(bytes.toString()) as SaidVersion);
}

function expectSuccess(exit: number): void {
  // SIGHUP: it was told to leave before it listened for that.
  if (exit === 0 || exit === 128 + SIGHUP) return;
  throw new Error(`expected that the one that answers ends with 0, found ${exit}`);
}
