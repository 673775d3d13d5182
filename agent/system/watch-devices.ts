import { existsSync } from 'node:fs';
import type { DeviceChanges } from './device-changes.ts';

/**
 * Watches udev's label links, or the device nodes where there are none. chokidar is loaded only here: most boots need
 * not wait. Returns before the watch stands.
 */
export async function watchDevices(): Promise<DeviceChanges> {
  const { watch } = await import('chokidar');
  const hasLinks = existsSync('/dev/disk');
  // Not all of /dev: its hundreds of terminals would each be looked at.
  const watched = hasLinks ? /^\/dev\/disk(\/by-label(\/[^/]+)?)?$/ : /^\/dev(\/[^/]+)?$/;
  const watcher = watch(hasLinks ? '/dev/disk' : '/dev', {
    depth: hasLinks ? 1 : 0,
    ignored: (path, stats) => !watched.test(path) || stats?.isCharacterDevice() === true,
    followSymlinks: false,
    ignoreInitial: true,
    ignorePermissionErrors: true,
  });
  let changed = false;
  let ready = false;
  let wake: () => void = () => undefined;
  const note = (): void => {
    changed = true;
    wake();
  };
  watcher.on('all', note);
  watcher.on('error', note);
  const standing = new Promise<void>((resolve) => {
    watcher.once('ready', () => {
      ready = true;
      resolve();
    });
  });
  return {
    isReady: () => ready,
    ready: () => standing,
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
