import { existsSync, mkdirSync, rmSync, statfsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf } from '../system/errors.ts';
import { ensureFolder, namesIn } from '../system/files.ts';
import { mountOverlay, unmount } from '../system/mount.ts';
import type { DaemonConfig } from './daemon-config.ts';

/** Drivers whose folder in the data root makes dockerd choose them (moby, graphdriver.HasPriorDriver and scanPriorDrivers). */
const OTHER_DRIVERS = ['aufs', 'btrfs', 'devicemapper', 'fuse-overlayfs', 'overlay', 'zfs'] as const;
/** linux/magic.h: on these, dockerd before 23.0 prefers the driver of that name. */
const NATIVE_DRIVERS = new Map([
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
]);

/**
 * Why dockerd's store in this data root is not one that we can fill, or undefined where it is overlay2. We follow what
 * dockerd is told and what it would choose by itself here: making `overlay2/` where it would take another driver, or
 * containerd's store, would change its choice and hide what the user has.
 */
export function unsupportedStore(dataRoot: string, config: DaemonConfig): string | undefined {
  if (config.usernsRemap !== undefined) return `userns-remap is set to '${config.usernsRemap}': layers would have to belong to other users`;
  if (config.containerdStore === true) return 'the containerd image store is in use (features.containerd-snapshotter)';
  if (config.storageDriver !== undefined && config.storageDriver !== 'overlay2') return `the storage driver is '${config.storageDriver}', overlay2 expected`;
  if (namesIn(join(dataRoot, 'overlay2')).length > 0) return undefined;
  if (config.storageDriver === undefined) {
    const prior = OTHER_DRIVERS.find((driver) => namesIn(join(dataRoot, driver)).length > 0);
    if (prior !== undefined) return `dockerd would keep to the storage driver '${prior}', which ${join(dataRoot, prior)} is filled by`;
    if (config.containerdStore !== false && hasContainerdStore(dataRoot)) return `the containerd image store is in use (${dataRoot} is filled by it)`;
    const native = NATIVE_DRIVERS.get(statfsSync(existingPart(dataRoot)).type);
    if (native !== undefined) return `dockerd may choose the storage driver '${native}' on this filesystem; set "storage-driver": "overlay2" if that is wanted`;
  }
  return undefined;
}

/** Where dockerd keeps containers of the containerd store, and its own containerd's content. */
function hasContainerdStore(dataRoot: string): boolean {
  return ['rootfs/overlayfs', 'containerd/daemon/io.containerd.content.v1.content/blobs'].some((path) => namesIn(join(dataRoot, path)).length > 0);
}

function existingPart(path: string): string {
  return existsSync(path) ? path : existingPart(dirname(path));
}

/**
 * dockerd takes overlay2 only where it can mount an overlay (overlayutils.SupportsOverlay); with our overlay2/ in a data
 * root where it cannot, it would refuse to start: "prior storage driver overlay2 failed". Tried only before overlay2/ is
 * made; an overlay is mounted for a moment in the data root.
 */
export function overlayProblem(dataRoot: string): string | undefined {
  if (namesIn(join(dataRoot, 'overlay2')).length > 0) return undefined;
  ensureFolder(dataRoot, 0o710);
  const folder = trialFolder(dataRoot);
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(folder, name)) as [string, string, string, string];
  try {
    for (const path of [folder, lower, upper, work, merged]) mkdirSync(path);
    mountOverlay(merged, { lower, upper, work });
    unmount(merged, true);
    return undefined;
  } catch (error) {
    return `overlay2 does not work on ${dataRoot}: a trial mount failed: ${messageOf(error)}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Removes what a run that was killed during its trial left, the mount first. No other run may be under way. */
export function clearTrial(dataRoot: string): void {
  const folder = trialFolder(dataRoot);
  if (!existsSync(folder)) return;
  try {
    unmount(join(folder, 'merged'), true);
  } catch {
    // It was killed before it mounted, or after it unmounted.
  }
  rmSync(folder, { recursive: true, force: true });
}

function trialFolder(dataRoot: string): string {
  return join(dataRoot, 'docker-preloader-trial');
}
