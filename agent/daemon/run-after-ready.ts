import { dirname } from 'node:path';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { discover, labelFilter } from '../boot/discover.ts';
import { storeIn } from '../boot/image-store.ts';
import { MOBY } from '../docker/daemon-config.ts';
import type { Finding } from '../messages/finding.ts';
import { CurrentStatus } from '../status/current.ts';
import { findingEvent, logEvents } from '../status/journal-entries.ts';
import type { StatusDocument } from '../status/schema.ts';
import { delay } from '../system/clock.ts';
import { listenFd } from '../system/listen-fds.ts';
import { releaseProgram, releaseProgramSoon } from '../system/memory.ts';
import { notify, notifyStatus } from '../system/notify.ts';
import { watchDevices } from '../system/watch-devices.ts';
import { followFolder } from '../system/watch-folders.ts';
import { answerClients } from './answer-clients.ts';
import type { Clients } from './clients.ts';
import { compareWithContainerdUnit } from './containerd-unit.ts';
import { compareWithService } from './docker-service.ts';
import { followStore, type FollowedStore } from './follow-store.ts';
import type { Lived } from './handed-start.ts';
import { Look, type ContainerdWork } from './look.ts';
import type { Begun, Start } from './start.ts';

/**
 * What the daemon does when Docker may start: it serves the status, syncs and compares. Loaded only then.
 * @param written the text of the status as it was published, undefined if that failed
 * @param lived what another process has done of this, which goes on here: nothing of it is done or told again
 */
export async function serve(
  start: Start,
  status: StatusDocument,
  written: string | undefined,
  lived?: Lived,
): Promise<void> {
  const { config, isConfigured, result } = start;
  const current = new CurrentStatus(config, lived?.found ?? status, written);
  if (lived !== undefined) current.goOn(lived.own);
  const look = new Look(start, status, current);
  const clients = await answerClients(start, status, look, current);
  const follow = isConfigured ? followDataRoot(look, current) : () => undefined;
  follow();
  const tell = teller(current);
  whenPublished(config, () => {
    tell();
    follow();
    void beginsAnew(start, current, clients);
  });
  const reading = lived === undefined ? readsAhead(start) : Promise.resolve();
  if (lived === undefined) await syncsAndCompares(start, current, reading);
  void restoresPruned(start, look, lived === undefined && result.applied);
  if (result.containerd !== undefined) void followsContainerd(start, look, current);
  void releaseProgramSoon();
  // Only with a socket of the service manager, because otherwise nobody could start it again.
  if (config.idleExitSec > 0 && listenFd() !== undefined)
    (await import('./idle.ts')).exitWhenIdle(clients, config.idleExitSec, reading, () =>
      notify('STOPPING=1', 'STATUS=idle: the next request for the status starts it again'),
    );
  if (lived === undefined) current.enter('watch');
  await Promise.race([
    clients.over,
    isConfigured ? followDevices(start, look, current, lived !== undefined) : new Promise(() => undefined),
  ]);
}

async function syncsAndCompares(
  { config, result }: Start,
  current: CurrentStatus,
  reading: Promise<void>,
): Promise<void> {
  if (result.dataRoot !== undefined && (result.plan !== undefined || result.containerd === undefined)) {
    // Syncing blocks this process while it lasts, and is less urgent than reading ahead.
    await Promise.race([reading, delay(SYNC_WITHIN_MS)]);
    current.enter('sync');
    await storeIn(result.dataRoot).sync();
    tellLater(await compareWithService(config, result.dataRoot), current);
  }
  tellLater(await compareWithContainerdUnit(result.containerd?.namespaces ?? []), current);
}

/** What was found after READY. */
function tellLater(finding: Finding | undefined, current: CurrentStatus): void {
  if (finding === undefined) return;
  logEvents([findingEvent(finding)]);
  current.add(finding);
  notifyStatus(current.document.summary);
}

/** A power cut before the store is synced only makes the next start compare the content of files. */
const SYNC_WITHIN_MS = 2000;

/**
 * Only once in a boot: later, what containers need is already in memory. And only if the store was filled, because
 * otherwise containers do not use the disks.
 */
async function readsAhead({ config, isFirst, result: { applied, disks, plan } }: Start): Promise<void> {
  if (!isFirst || !applied || plan === undefined || config.readAheadMb === 0) return;
  await (await import('./read-ahead.ts')).readAhead(disks, plan.content.layers, config.readAheadMb * 1e6);
}

/**
 * A daemon that was started by a client's request, and perhaps ends soon, restores nothing: otherwise it would depend
 * on chance whether a prune is undone.
 */
async function restoresPruned(
  { config, isConfigured, isByClient, result }: Start,
  look: Look,
  isFilled: boolean,
): Promise<void> {
  const { dataRoot, containerd } = result;
  if (!isConfigured || isByClient || dataRoot === undefined || config.prunedImages === 'respect') return;
  const { dockerSocket } = await import('./docker-socket.ts');
  const { followPrunes } = await import('./follow-prunes.ts');
  const place = { config, dataRoot, isFilled, socket: () => dockerSocket(config) };
  if (containerd?.namespaces.includes(MOBY) === true) {
    const { namespacePrunes } = await import('./namespace-prunes.ts');
    void followPrunes({ ...place, ...namespacePrunes({ config, dataRoot }, (pruned) => look.anew({ pruned })) });
  }
  if (containerd === undefined || result.plan !== undefined)
    await followPrunes({ ...place, ...(await import('./overlay2-prunes.ts')).overlay2Prunes(config, dataRoot) });
}

/** A containerd that starts later than we do is filled, and what changes in it is told. */
async function followsContainerd(
  { config, isConfigured, result: { dataRoot } }: Start,
  look: Look,
  current: CurrentStatus,
): Promise<void> {
  if (!isConfigured || dataRoot === undefined) return;
  const { followContainerd } = await import('./follow-containerd.ts');
  await followContainerd(
    { config, dataRoot },
    {
      began: () => lookAnew(look, current, { pruned: new Set() }),
      changed: () => lookAnew(look, current),
    },
  );
}

/** Runs `act` whenever a run may have published a status, as docker.service's drop-in does. */
function whenPublished(config: Config, act: () => void): void {
  try {
    followFolder(dirname(config.statusSocket), act);
  } catch {
    // Ignored: if the folder cannot be watched, `systemctl status` shows the older status.
  }
}

/**
 * Begins anew where a run has filled the store by another configuration than ours, as docker.service's drop-in does after
 * that was changed: otherwise we would go on telling, and bringing back, what it no longer says. `unlink` fills nothing.
 */
async function beginsAnew({ config, configFile }: Start, current: CurrentStatus, clients: Clients): Promise<void> {
  if (!current.document.applied) return;
  try {
    if (JSON.stringify(await readConfig(configFile)) !== JSON.stringify(config)) clients.beginAnew();
  } catch {
    // It cannot be read. Who begins next says so.
  }
}

/** Only the daemon can send a status to the service manager. */
function teller(current: CurrentStatus): () => void {
  let told = current.document.summary;
  return () => {
    const { summary } = current.document;
    if (summary !== told) notifyStatus(summary);
    told = summary;
  };
}

/**
 * Follows the store that is filled now, because dockerd's configuration may name another one before Docker's next
 * start, or somebody may have put another one in its place.
 */
function followDataRoot(look: Look, current: CurrentStatus): () => void {
  let followed: { readonly dataRoot: string; readonly store: FollowedStore } | undefined;
  return () => {
    const { dataRoot } = current.document;
    if (dataRoot === null) return;
    if (followed?.dataRoot === dataRoot) return followed.store.check();
    followed?.store.end();
    followed = { dataRoot, store: followStore(dataRoot, () => lookAnew(look, current)) };
  };
}

/** Time for udev, and for devices that appear together, before we look. */
const SETTLE_MS = 100;

/**
 * Looks again whenever devices appear or disappear. A disk that was pulled out is then reported as lost.
 * @param isChanged whether something may have changed that nobody has looked at
 */
async function followDevices(
  { config, result }: Start,
  look: Look,
  current: CurrentStatus,
  isChanged: boolean,
): Promise<never> {
  const changes = await watchDevices();
  await changes.ready();
  // Nobody has seen the devices that appeared since READY.
  let isNew = isChanged || !hasSameDevices(config, result);
  for (;;) {
    if (!isNew) await changes.next();
    isNew = false;
    await delay(SETTLE_MS);
    await lookAnew(look, current, { pruned: new Set() });
  }
}

async function lookAnew(look: Look, current: CurrentStatus, work?: ContainerdWork): Promise<void> {
  await look.anew(work);
  // Also without a change, to replace the message that the lock was waited for.
  notifyStatus(current.document.summary);
  releaseProgram();
}

/**
 * Whether the devices with our labels are those that the run has found. This is cheap, because it does not look at the
 * store.
 */
function hasSameDevices(config: Config, { candidates }: Begun): boolean {
  const before = candidates.flatMap(({ device, source }) => (source === undefined ? [device.path] : []));
  const { disks, refused } = discover(labelFilter(config));
  const now = [...[...disks.values()].flat(), ...refused].map(({ device }) => device.path);
  return now.length === before.length && now.every((path) => before.includes(path));
}
