import { join } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import { pause } from '../system/clock.ts';
import { isEBUSY, messageOf } from '../system/errors.ts';
import { isDirectory } from '../system/read-files.ts';
import { ensureFolder, makeFolder } from '../system/write-files.ts';
import { mountReadOnly, readMounts, unmount } from '../system/mount.ts';
import { chooseDuplicate, digestOn, type Pinned } from './choose-duplicate.ts';
import type { Discovery, FoundDisk, SourceDisk } from './discover.ts';
import { isAt, isSealed, type Place } from './mount-place.ts';

export type MountedDisk = FoundDisk & {
  readonly path: string;
  /** Whether an earlier run in this boot has mounted it. */
  readonly adopted: boolean;
  /** Whether `unlink` has unmounted it since. */
  readonly isUnlinked?: boolean;
};

export interface Mounts {
  readonly disks: readonly MountedDisk[];
  readonly findings: readonly Finding[];
}

export interface MountOptions {
  /**
   * Whether disks may be unmounted, because no store leads to them that stays as it is. Then a mount whose device no
   * longer has the label is replaced by one that has.
   */
  readonly mayUnmount: boolean;
  /**
   * The manifest digests of which a disk with this label must have one; `signed` if it may have any that is signed; or
   * none if it may have any.
   */
  readonly pinned?: (label: string) => Pinned | undefined;
  /**
   * For several devices with such a label: the manifest digest of what is mounted at a path, or undefined if it is not
   * whole, or not signed.
   */
  readonly pinnedDigest?: ((label: string, path: string) => string | undefined) | undefined;
  /** Mounts a folder; undefined where there are no sources. */
  readonly mountSource?: MountSource | undefined;
  /** Called for each disk when it is mounted. */
  readonly tell?: (disk: MountedDisk) => void;
}

type MountSource = (disk: SourceDisk, path: string) => void;

/** Mounts each disk in a folder named for its label. What is already mounted there is used if it is the same device. */
export function mountDisks(
  discovery: Discovery,
  mountRoot: string,
  { mayUnmount, pinned, pinnedDigest, mountSource, tell }: MountOptions,
): Mounts {
  const disks: MountedDisk[] = [];
  const findings: Finding[] = [];
  if (discovery.disks.size === 0) return { disks, findings };
  // Layers hold files that not every user of the guest may read.
  ensureFolder(mountRoot, 0o700);
  const present = readMounts();
  const mount = (disk: FoundDisk, path: string): void => {
    if (disk.source === undefined) mountReadOnly(disk.device.path, path, disk.superblock.filesystem);
    else mountSource?.(disk, path);
  };
  for (const [label, candidates] of discovery.disks) {
    const place = {
      path: join(mountRoot, label),
      there: present.findLast((mount) => mount.path === join(mountRoot, label)),
    };
    let device = candidates[0]?.device.path ?? '';
    try {
      const digests = pinned?.(label);
      const read = (path: string): string | undefined =>
        digests !== undefined && pinnedDigest !== undefined ? pinnedDigest(label, path) : digestOn(path);
      const disk =
        candidates.length === 1
          ? candidates[0]
          : chooseDuplicate(label, candidates, place, { pinned: digests ?? [], read, mount }, findings);
      if (disk === undefined) continue;
      device = disk.device.path;
      const mounted = mountDisk(disk, place, mount, mayUnmount);
      tell?.(mounted);
      disks.push(mounted);
    } catch (error) {
      findings.push({
        code: isBusy(error) ? 'MOUNT_BUSY' : 'MOUNT_FAILED',
        label,
        device,
        message: `disk ${label} (${device}): ${messageOf(error)}`,
      });
    }
  }
  return { disks, findings };
}

class MountBusy extends Error {}
const isBusy = (error: unknown): boolean => error instanceof MountBusy;

function mountDisk(
  disk: FoundDisk,
  { path, there }: Place,
  mount: (disk: FoundDisk, path: string) => void,
  mayUnmount: boolean,
): MountedDisk {
  const { device } = disk;
  if (isAt(disk, there)) return { ...disk, path, adopted: true };
  if (there !== undefined) {
    // A filesystem of a kind that no disk has is not ours to unmount.
    const isDisk = there.filesystem === 'ext4' || there.filesystem === 'erofs' || isSealed(there);
    const cure = isDisk ? 'if the disk was replaced, run: systemctl restart docker' : 'unmount it';
    if (!isDisk || !mayUnmount)
      throw new MountBusy(`expected nothing else mounted on ${path}, found device ${there.deviceNumber}; ${cure}`);
    if (isMountedOn(path, disk)) return { ...disk, path, adopted: true };
    unmount(path, true);
  }
  // The kernel would follow a symlink, and list the mount under the path that it leads to.
  if (!makeFolder(path, 0o755) && !isDirectory(path))
    throw new Error(`${path}: expected a folder, found something else; remove it`);
  for (let retries = BUSY_RETRIES; ; retries -= 1) {
    try {
      mount(disk, path);
      return { ...disk, path, adopted: false };
    } catch (error) {
      if (!isEBUSY(error)) throw error;
      if (isMountedOn(path, disk)) return { ...disk, path, adopted: true };
      if (retries === 0)
        throw new Error(
          `expected a device that nothing else uses, found one that is held exclusively or mounted writable (EBUSY); look at: lsblk ${device.path}; fuser -v ${device.path}`,
          { cause: error },
        );
      pause(BUSY_RETRY_MS);
    }
  }
}

/**
 * Whether the disk is mounted by now. Two runs at once may both have seen that it was not, and the kernel does not
 * mount a filesystem on itself (fs/namespace.c, graft_tree).
 */
function isMountedOn(path: string, disk: FoundDisk): boolean {
  return isAt(
    disk,
    readMounts().findLast((mount) => mount.path === path),
  );
}

/**
 * A device is busy if somebody has opened it with O_EXCL (block/bdev.c, bd_prepare_to_claim), as multipath does for a
 * moment when udev shows it a new one, or has mounted it writable (fs/super.c, get_tree_bdev).
 */
const BUSY_RETRIES = 10;
const BUSY_RETRY_MS = 20;
