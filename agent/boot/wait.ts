import type { DeviceChanges } from '../system/device-changes.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { notify } from '../system/notify.ts';
import { isUdevQueueEmpty, isUdevRunning } from '../system/udev.ts';
import type { Config } from '../config/config.ts';
import { discover, labelFilter, type Discovery, type LabelFilter } from './discover.ts';

/**
 * How often to look where nothing announces a change. Without udev, that is a loop device that gets a file; with udev,
 * it is the time in which the watch is being set up. This is well below the 100 ms within which a disk is to be found.
 */
const POLL_MS = 50;
/** With a watch, in case an event got lost. */
const WATCHED_POLL_MS = 1000;
/** Whether udev's queue is empty shows in the existence of one file, which costs next to nothing to ask for. */
const QUEUE_POLL_MS = 10;
/** Added to our own limit, so that the service manager does not lose patience first. */
const EXTRA_TIMEOUT_SEC = 30;

/**
 * Discovers the disks. It waits for named and required labels that are not there yet, and for globs until udev has
 * handled all devices known so far, at most `deviceTimeoutSec`.
 * @param tell is called with what it has to wait for
 */
export async function discoverAwaited(config: Config, tell: (what: string) => void): Promise<Discovery> {
  const filter = labelFilter(config);
  const deadlineUsec = monotonicUsec() + config.deviceTimeoutSec * 1_000_000;
  let changes: DeviceChanges | undefined;
  try {
    for (;;) {
      const discovery = await discoverAll(config, filter);
      const leftMs = (deadlineUsec - monotonicUsec()) / 1000;
      const isQueueEmpty = !filter.hasGlobs || !isUdevRunning() || isUdevQueueEmpty();
      if ((discovery.missing.length === 0 && isQueueEmpty) || leftMs <= 0) return discovery;
      tell(tellWaiting(discovery, leftMs));
      if (discovery.missing.length === 0) {
        await emptyQueue(leftMs);
      } else {
        changes ??= await (await import('../system/watch-devices.ts')).watchDevices();
        await Promise.race([
          changes.next(),
          delay(Math.min(leftMs, isUdevRunning() && changes.isReady() ? WATCHED_POLL_MS : POLL_MS)),
        ]);
      }
    }
  } finally {
    changes?.close();
  }
}

/** The disks that are there now: devices with a label of ours, and the folders of `sources`. */
export async function discoverAll(config: Config, filter: LabelFilter): Promise<Discovery> {
  const found = discover(filter);
  return config.sources.length === 0 ? found : (await import('./folder-sources.ts')).addSources(found, config, filter);
}

async function emptyQueue(limitMs: number): Promise<void> {
  const deadlineUsec = monotonicUsec() + limitMs * 1000;
  while (!isUdevQueueEmpty() && monotonicUsec() < deadlineUsec) await delay(QUEUE_POLL_MS);
}

function tellWaiting(discovery: Discovery, leftMs: number): string {
  const what = discovery.missing.length === 0 ? 'udev to handle all devices' : `disk ${discovery.missing.join(', ')}`;
  notify(
    `STATUS=waiting for ${what}, at most ${Math.ceil(leftMs / 1000)} s`,
    `EXTEND_TIMEOUT_USEC=${Math.ceil(leftMs / 1000 + EXTRA_TIMEOUT_SEC) * 1_000_000}`,
  );
  return what;
}
