import { existsSync, mkdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hasEntryTypes } from '../system/entry-types.ts';
import { messageOf } from '../system/errors.ts';
import { ensureFolder, existingPart, namesIn } from '../system/files.ts';
import { mountOverlay, unmount } from '../system/mount.ts';
import type { DaemonConfig } from '../docker/daemon-config.ts';

/**
 * Drivers whose folder in the data root makes dockerd choose them (moby, graphdriver.HasPriorDriver and scanPriorDrivers),
 * and the version since when there is none of that name.
 */
const OTHER_DRIVERS = {
  aufs: 24,
  btrfs: undefined,
  devicemapper: 25,
  'fuse-overlayfs': undefined,
  overlay: 24,
  zfs: undefined,
} as const;
/** linux/magic.h: on these, dockerd before 23.0 prefers the driver of that name (moby, driver_linux.go, priority). */
const NATIVE_DRIVERS = new Map([
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
]);
const TRIAL = 'docker-preloader-trial';

/**
 * Why dockerd's store in this data root is not one that we can fill, or undefined where it is overlay2. We follow what
 * dockerd is told and what it would choose by itself here: making `overlay2/` where it would take another driver, or
 * containerd's store, would change its choice and hide what the user has.
 * @param dockerdVersion tells which dockerd will start; asked only where that decides
 */
export async function unsupportedStore(
  dataRoot: string,
  config: DaemonConfig,
  dockerdVersion: () => Promise<string | null>,
): Promise<string | undefined> {
  if (config.usernsRemap !== undefined)
    return `userns-remap is set to '${config.usernsRemap}': layers would have to belong to other users`;
  if (config.containerdStore === true) return 'the containerd image store is in use (features.containerd-snapshotter)';
  if (config.storageDriver !== undefined && config.storageDriver !== 'overlay2')
    return `the storage driver is '${config.storageDriver}', expected overlay2`;
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

const CURE = `set "storage-driver": "overlay2" in dockerd's configuration if that is wanted`;

/** Why a dockerd would keep to another driver that has been used in this data root, or may. */
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

/** NaN where it is not known. */
function majorOf(version: string | null): number {
  return version === null ? Number.NaN : Number.parseInt(version, 10);
}

const OVERLAY2_FIRST_SINCE = 23;

/** Why a dockerd would take a filesystem's native driver on an empty data root, or may. */
function nativeChoice(driver: string, version: string | null): string | undefined {
  const major = majorOf(version);
  if (major >= OVERLAY2_FIRST_SINCE) return undefined;
  if (Number.isNaN(major))
    return `dockerd before ${OVERLAY2_FIRST_SINCE}.0 chooses the storage driver '${driver}' on this filesystem, and which dockerd starts here is not known; ${CURE}`;
  return `dockerd ${version} chooses the storage driver '${driver}' on this filesystem; ${CURE}`;
}

/** Whether dockerd would keep to overlay2; what a run that was killed during its trial left does not count, the next one removes it. */
function hasOverlay2(dataRoot: string): boolean {
  return namesIn(join(dataRoot, 'overlay2')).some((name) => name !== TRIAL);
}

/** Where dockerd keeps containers of the containerd store, and its own containerd's content. */
function hasContainerdStore(dataRoot: string): boolean {
  return ['rootfs/overlayfs', 'containerd/daemon/io.containerd.content.v1.content/blobs'].some(
    (path) => namesIn(join(dataRoot, path)).length > 0,
  );
}

/**
 * Why dockerd would not take overlay2 in a data root, or undefined where it would: on trial, and by what dockerd itself asks
 * (moby, overlay2.Init): whether an overlay of several lowers can be mounted, and whether folders tell the types of their
 * entries. Without the latter, an ext4 without `filetype` or an xfs with `ftype=0`, 20.10 takes overlay2 where it has
 * been taken before, and later ones never.
 * With our overlay2/ in a data root where dockerd would not take it, dockerd would not start: "prior storage driver
 * overlay2 failed". Tried only before overlay2/ is filled.
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

/** Without waiting for what others have written to this filesystem, where the kernel can; what cannot be mounted so may be without. */
function tryOverlay(folder: string): void {
  try {
    mountAndUnmount(folder, 'volatile');
  } catch {
    mountAndUnmount(folder, 'plain');
  }
}

/** In folders of its own: a work folder that was mounted with `volatile` is refused from then on. */
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

/** Removes what a run that was killed during its trial left, the mount first. No other run may be under way. */
export function clearTrial(dataRoot: string): void {
  for (const folder of [trialFolder(dataRoot), trialFolder(join(dataRoot, 'overlay2'))]) {
    if (!existsSync(folder)) continue;
    for (const name of namesIn(folder).filter((entry) => entry.startsWith(MERGED))) {
      try {
        unmount(join(folder, name), true);
      } catch {
        // It was killed before it mounted, or after it unmounted.
      }
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * Where dockerd tries: in overlay2/, where there is one. For us only where that is a filesystem of its own: what a run
 * leaves there that is killed in its trial would make dockerd keep to overlay2, whether it works or not.
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
