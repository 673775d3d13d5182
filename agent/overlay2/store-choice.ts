import { existsSync, mkdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hasEntryTypes } from '../system/entry-types.ts';
import { messageOf } from '../system/errors.ts';
import { existingPart, namesIn } from '../system/read-files.ts';
import { ensureFolder } from '../system/write-files.ts';
import { mountOverlay, unmount } from '../system/mount.ts';
import type { DaemonConfig } from '../docker/daemon-config.ts';

/**
 * Drivers that dockerd chooses if the data root has a folder of that name (moby, graphdriver.HasPriorDriver and
 * scanPriorDrivers), each with the version that no longer has the driver.
 */
const OTHER_DRIVERS = {
  aufs: 24,
  btrfs: undefined,
  devicemapper: 25,
  'fuse-overlayfs': undefined,
  overlay: 24,
  zfs: undefined,
} as const;
/**
 * Filesystems (linux/magic.h) on which dockerd before 23.0 prefers the driver of that name (moby, driver_linux.go,
 * priority).
 */
const NATIVE_DRIVERS = new Map([
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
]);
const TRIAL = 'docker-preloader-trial';

/**
 * Why we cannot fill dockerd's store in this data root, or undefined if we can, because it is on overlay2. We look at
 * what dockerd is told, and at what it would choose by itself here. If we made `overlay2/` where it would take another
 * driver, or containerd's store, its choice would change and hide what the user has.
 * @param dockerdVersion tells which dockerd will start. It is called only if that decides
 * @param isBoth whether both stores are to be filled, so that the one that dockerd does not use now is right, too
 */
export async function unsupportedStore(
  dataRoot: string,
  config: DaemonConfig,
  dockerdVersion: () => Promise<string | null>,
  isBoth = false,
): Promise<string | undefined> {
  if (config.usernsRemap !== undefined)
    return `userns-remap is set to '${config.usernsRemap}': layers would have to belong to other users`;
  if (config.containerdStore === true && !isBoth)
    return 'the containerd image store is in use (features.containerd-snapshotter)';
  if (config.storageDriver !== undefined && config.storageDriver !== 'overlay2')
    return `expected the storage driver 'overlay2', found '${config.storageDriver}'`;
  if (hasOverlay2(dataRoot)) return undefined;
  if (config.storageDriver === undefined) {
    const kept = await keptDriver(dataRoot, dockerdVersion);
    if (kept !== undefined) return kept;
    if (config.containerdStore !== false && hasContainerdStore(dataRoot))
      return `the containerd image store is in use (${dataRoot} is filled by it)`;
    const native = NATIVE_DRIVERS.get(statfsSync(existingPart(dataRoot)).type);
    if (native !== undefined) return nativeChoice(native, await dockerdVersion());
  }
  return undefined;
}

/** Another driver that has been used in this data root. */
export function otherDriver(dataRoot: string): string | undefined {
  return Object.keys(OTHER_DRIVERS).find((driver) => namesIn(join(dataRoot, driver)).length > 0);
}

const CURE = `set "storage-driver": "overlay2" in dockerd's configuration if that is wanted`;

/** Why dockerd would or might keep to another driver that has been used in this data root. */
async function keptDriver(dataRoot: string, dockerdVersion: () => Promise<string | null>): Promise<string | undefined> {
  for (const [driver, goneSince] of Object.entries(OTHER_DRIVERS)) {
    const folder = join(dataRoot, driver);
    if (namesIn(folder).length === 0) continue;
    const version = goneSince === undefined ? null : await dockerdVersion();
    if (goneSince === undefined || majorOf(version) < goneSince)
      return `dockerd would keep to the storage driver '${driver}', which ${folder} is filled by`;
    if (Number.isNaN(majorOf(version)))
      return `dockerd before ${goneSince}.0 would keep to the storage driver '${driver}', which ${folder} is filled by, and which dockerd starts here is not known; ${CURE}`;
  }
  return undefined;
}

/** The major version, or NaN if it is not known. */
function majorOf(version: string | null): number {
  return version === null ? Number.NaN : Number.parseInt(version, 10);
}

const OVERLAY2_FIRST_SINCE = 23;

/** Why dockerd would or might take a filesystem's native driver for an empty data root. */
function nativeChoice(driver: string, version: string | null): string | undefined {
  const major = majorOf(version);
  if (major >= OVERLAY2_FIRST_SINCE) return undefined;
  if (Number.isNaN(major))
    return `dockerd before ${OVERLAY2_FIRST_SINCE}.0 chooses the storage driver '${driver}' on this filesystem, and which dockerd starts here is not known; ${CURE}`;
  return `dockerd ${version} chooses the storage driver '${driver}' on this filesystem; ${CURE}`;
}

/**
 * Whether dockerd would keep to overlay2. What a killed run has left of its trial does not count, because the next one
 * removes it.
 */
export function hasOverlay2(dataRoot: string): boolean {
  return namesIn(join(dataRoot, 'overlay2')).some((name) => name !== TRIAL);
}

/** Whether dockerd has kept containers of the containerd store here, or content of its own containerd. */
export function hasContainerdStore(dataRoot: string): boolean {
  return ['rootfs/overlayfs', 'containerd/daemon/io.containerd.content.v1.content/blobs'].some(
    (path) => namesIn(join(dataRoot, path)).length > 0,
  );
}

/**
 * Why dockerd would not take overlay2 in a data root, or undefined if it would. We try what dockerd itself tries (moby,
 * overlay2.Init): whether an overlay of several lowers can be mounted, and whether folders tell the types of their
 * entries. An ext4 without `filetype` and an xfs with `ftype=0` do not. There, 20.10 takes overlay2 only if it has
 * taken it before, and later versions never do. With our overlay2/ in a data root where it would not take it, dockerd
 * does not start: "prior storage driver overlay2 failed". We try only before overlay2/ is filled.
 */
export function overlayProblem(dataRoot: string): string | undefined {
  if (hasOverlay2(dataRoot)) return undefined;
  ensureFolder(dataRoot, 0o710);
  const folder = trialFolder(trialPlace(dataRoot));
  try {
    mkdirSync(folder);
    tryOverlay(folder);
    if (!hasEntryTypes(folder))
      return `overlay2 does not work on ${dataRoot}: its filesystem was made without d_type support; make it anew with it (ext4: mkfs.ext4 -O filetype, xfs: mkfs.xfs -n ftype=1)`;
    return undefined;
  } catch (error) {
    return `overlay2 does not work on ${dataRoot}: a trial mount failed: ${messageOf(error)}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Mounts an overlay as `volatile`, so that unmounting does not wait for what others have written. If that fails,
 * without it.
 */
function tryOverlay(folder: string): void {
  try {
    mountAndUnmount(folder, 'volatile');
  } catch {
    mountAndUnmount(folder, 'plain');
  }
}

/**
 * Mounts and unmounts an overlay in new folders, because a work folder that was once mounted as `volatile` is refused.
 */
function mountAndUnmount(folder: string, kind: 'volatile' | 'plain'): void {
  const path = (name: string): string => join(folder, `${name}-${kind}`);
  for (const name of ['lower1', 'lower2', 'upper', 'work', MERGED]) mkdirSync(path(name));
  mountOverlay(path(MERGED), {
    lower: [path('lower2'), path('lower1')],
    upper: path('upper'),
    work: path('work'),
    volatile: kind === 'volatile',
  });
  unmount(path(MERGED), true);
}

const MERGED = 'merged';

/** Removes what a killed run has left of its trial, the mount first. No other run may be under way. */
export function clearTrial(dataRoot: string): void {
  for (const folder of [trialFolder(dataRoot), trialFolder(join(dataRoot, 'overlay2'))]) {
    if (!existsSync(folder)) continue;
    for (const name of namesIn(folder).filter((entry) => entry.startsWith(MERGED))) {
      try {
        unmount(join(folder, name), true);
      } catch {
        // Nothing is mounted: the run was killed before it mounted, or after it unmounted.
      }
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Where to try. dockerd tries in overlay2/ if it exists. We do so only if that is a filesystem of its own. Otherwise,
 * what a run leaves there if it is killed would make dockerd keep to overlay2, whether it works or not.
 */
function trialPlace(dataRoot: string): string {
  const overlay = statSync(join(dataRoot, 'overlay2'), { throwIfNoEntry: false });
  return overlay?.isDirectory() === true && overlay.dev !== statSync(dataRoot).dev
    ? join(dataRoot, 'overlay2')
    : dataRoot;
}

function trialFolder(place: string): string {
  return join(place, TRIAL);
}
