import { delay, monotonicUsec } from '../system/clock.ts';
import { notify } from '../system/notify.ts';
import { isUdevQueueEmpty, isUdevRunning } from '../system/udev.ts';
import type { Config } from './config.ts';
import { discover, labelFilter, type Discovery } from './discover.ts';

/** Without udev nothing announces a loop device that gets a file: then we look this often. Well below the 100 ms promised. */
const POLL_MS = 50;
/** Beyond our own limit, so that the service manager does not lose patience first. */
const EXTRA_TIMEOUT_SEC = 30;

/**
 * Discovers the disks; a named or required label that is not there yet is waited for, globs until udev has handled all
 * devices known so far, both at most `deviceTimeoutSec`.
 */
export async function discoverAwaited(config: Config): Promise<Discovery> {
  const filter = labelFilter(config);
  const deadlineUsec = monotonicUsec() + config.deviceTimeoutSec * 1_000_000;
  let discovery = discover(filter);
  if (isSettled(discovery) || config.deviceTimeoutSec === 0) return discovery;

  const changes = await watchDevices();
  try {
    // Looked at again once the watch stands, for what came in between.
    for (;;) {
      discovery = discover(filter);
      const leftMs = (deadlineUsec - monotonicUsec()) / 1000;
      if (isSettled(discovery) || leftMs <= 0) return discovery;
      tellWaiting(discovery, leftMs);
      await Promise.race([changes.next(), delay(Math.min(leftMs, isUdevRunning() ? 1000 : POLL_MS))]);
    }
  } finally {
    changes.close();
  }
}

function isSettled(discovery: Discovery): boolean {
  return discovery.missing.length === 0 && (!isUdevRunning() || isUdevQueueEmpty());
}

function tellWaiting(discovery: Discovery, leftMs: number): void {
  const what = discovery.missing.length === 0 ? 'udev to handle all devices' : `disk ${discovery.missing.join(', ')}`;
  notify(`STATUS=waiting for ${what}, at most ${Math.ceil(leftMs / 1000)} s`, `EXTEND_TIMEOUT_USEC=${Math.ceil(leftMs / 1000 + EXTRA_TIMEOUT_SEC) * 1_000_000}`);
}

/** What tells that devices may have come or gone. */
export interface DeviceChanges {
  /** Resolves at the next change. */
  next(): Promise<void>;
  close(): void;
}

/** Watches device nodes, udev's label links and its queue. chokidar is loaded only here: most boots need not wait. */
export async function watchDevices(): Promise<DeviceChanges> {
  const { watch } = await import('chokidar');
  const watched = /^\/dev(\/[^/]+|\/disk\/by-label(\/[^/]+)?)?$|^\/run\/udev(\/(queue|control))?$/;
  const watcher = watch(['/dev', '/run/udev'], {
    depth: 2,
    ignored: (path, stats) => !watched.test(path) || stats?.isCharacterDevice() === true,
    followSymlinks: false,
    ignoreInitial: true,
    ignorePermissionErrors: true,
  });
  let changed = false;
  let wake: () => void = () => undefined;
  const note = (): void => {
    changed = true;
    wake();
  };
  watcher.on('all', note);
  watcher.on('error', note);
  await new Promise<void>((resolve) => {
    watcher.once('ready', () => resolve());
  });
  return {
    next: async () => {
      if (!changed) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      changed = false;
    },
    close: () => {
      void watcher.close();
    },
  };
}
