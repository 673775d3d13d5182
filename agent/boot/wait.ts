import type { DeviceChanges } from '../system/watch-devices.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { notify } from '../system/notify.ts';
import { isUdevQueueEmpty, isUdevRunning } from '../system/udev.ts';
import type { Config } from '../config/config.ts';
import { discover, labelFilter, type Discovery } from './discover.ts';

/**
 * How often to look where nothing announces a change: without udev, a loop device that gets a file; with it, while the
 * watch is being set up. Well below the 100 ms promised.
 */
const POLL_MS = 50;
/** With a watch, only in case that an event got lost. */
const WATCHED_POLL_MS = 1000;
/** udev's queue is one file's existence, which costs next to nothing to ask for. */
const QUEUE_POLL_MS = 10;
/** Beyond our own limit, so that the service manager does not lose patience first. */
const EXTRA_TIMEOUT_SEC = 30;

/**
 * Discovers the disks; a named or required label that is not there yet is waited for, globs until udev has handled all
 * devices known so far, both at most `deviceTimeoutSec`.
 * @param tell is told what it had to wait for last
 */
export async function discoverAwaited(config: Config, tell: (what: string) => void): Promise<Discovery> {
  const filter = labelFilter(config);
  const deadlineUsec = monotonicUsec() + config.deviceTimeoutSec * 1_000_000;
  let changes: DeviceChanges | undefined;
  try {
    for (;;) {
      const discovery = discover(filter);
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
