import { closeSync, constants, openSync, rmdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import { readManifest } from '../disk/manifest.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { hasMedium } from '../system/block-devices.ts';
import { pause } from '../system/clock.ts';
import { isEBUSY, messageOf } from '../system/errors.ts';
import { ensureFolder, isDirectory, makeFolder } from '../system/files.ts';
import { mountReadOnly, readMounts, unmount, type MountPoint } from '../system/mount.ts';
import type { Discovery, FoundDisk, SourceDisk } from './discover.ts';

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

type Pinned = readonly string[] | 'signed';

export interface MountOptions {
  /**
   * Whether disks may be unmounted, because nothing runs from them. Then a mount whose device no longer has the label
   * is replaced by one that has.
   */
  readonly mayUnmount: boolean;
  /**
   * The manifest digests of which a disk with this label must have one; `signed` if it may have any that is signed; or none
   * if it may have any.
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

/** Where a disk belongs, and what is already mounted there. */
interface Place {
  readonly path: string;
  readonly there: MountPoint | undefined;
}

class MountBusy extends Error {}
const isBusy = (error: unknown): boolean => error instanceof MountBusy;

/** Whether it is this disk that is mounted there. */
function isAt({ device, source }: FoundDisk, there: MountPoint | undefined): boolean {
  if (there === undefined) return false;
  if (source === undefined) return there.deviceNumber === device.deviceNumber;
  return source.kind === 'folder'
    ? there.deviceNumber === device.deviceNumber && there.root === source.root
    : there.filesystem === source.kind && there.source === source.tag;
}

/** Whether it is mounted as we mount folders, of whatever filesystem. Nobody else is as strict. */
function isSealed({ options }: MountPoint): boolean {
  return ['ro', 'nosuid', 'nodev', 'noexec'].every((option) => options.includes(option));
}

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

interface Digests {
  readonly pinned: Pinned;
  /** The digest of what is mounted at a path. */
  readonly read: (path: string) => string | undefined;
  readonly mount: (disk: FoundDisk, path: string) => void;
}

/**
 * Chooses one of several devices with the same label. If any has a pinned digest, or is signed, only those count. The one that is
 * already mounted is taken, whatever the others hold, because images run from it. If none is mounted, the first is
 * taken if all manifests say that the content is the same. Otherwise none is, because nobody can know which one was
 * meant.
 */
function chooseDuplicate(
  label: string,
  candidates: readonly FoundDisk[],
  { path, there }: Place,
  { pinned, read, mount }: Digests,
  findings: Finding[],
): FoundDisk | undefined {
  const isMounted = (disk: FoundDisk): boolean => isAt(disk, there);
  const digests = new Map(
    candidates.map((disk) => [disk, isMounted(disk) ? read(path) : digestOf(disk, path, { read, mount })]),
  );
  const right = candidates.filter((disk) => isRight(digests.get(disk), pinned));
  const meant = right.length > 0 ? right : candidates;
  const first = meant.find(isMounted) ?? meant[0];
  if (first === undefined) return undefined;
  const digest = digests.get(first);
  const others = candidates.filter((disk) => disk !== first);
  const strange = others.filter((disk) => digest === undefined || digests.get(disk) !== digest);
  const names = (disks: readonly FoundDisk[]): string => disks.map((disk) => disk.device.path).join(', ');
  const found = `disk ${label}: expected one device, found ${names(candidates)} with different or unknown content`;
  if (!isMounted(first) && strange.some((disk) => meant.includes(disk))) {
    findings.push({
      code: 'LABEL_DUPLICATE',
      label,
      device: names(candidates),
      message: `${found}; all are left out: detach one, or give it another label`,
    });
    return undefined;
  }
  const merit =
    pinned === 'signed' ? 'which a trusted key has signed, is used' : 'which has the pinned digest, is used';
  const why = isMounted(first) ? 'which is mounted already, stays in use' : merit;
  if (strange.length > 0)
    findings.push({
      code: 'LABEL_DUPLICATE',
      label,
      device: names(strange),
      message: `${found}; ${first.device.path}, ${why}, ${names(strange)} left out: detach it, or give it another label`,
    });
  for (const disk of others) {
    if (!strange.includes(disk))
      findings.push({
        code: 'DISK_TWICE',
        label,
        device: disk.device.path,
        message: `disk ${label}: ${disk.device.path} is left out: it holds the same as ${first.device.path}, which is used`,
      });
  }
  return first;
}

function isRight(digest: string | undefined, pinned: Pinned): boolean {
  return digest !== undefined && (pinned === 'signed' || pinned.includes(digest));
}

/**
 * The digest of a disk's manifest, or undefined if it has no valid one. The disk is mounted for it where nobody else
 * sees it.
 */
function digestOf(disk: FoundDisk, place: string, { read, mount }: Omit<Digests, 'pinned'>): string | undefined {
  // No label begins with a dot. The daemon and docker.service's drop-in may do this at the same time.
  const path = join(dirname(place), `.duplicate-${process.pid}`);
  ensureFolder(path, 0o700);
  try {
    mount(disk, path);
    const fd = openDetached(path);
    try {
      return read(`/proc/self/fd/${fd}/.`);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  } finally {
    rmdirSync(path);
  }
}

/** Opens what is mounted, and detaches the mount. It ends with the descriptor, even if we are killed. */
function openDetached(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } finally {
    unmount(path, true);
  }
}

function digestOn(path: string): string | undefined {
  try {
    return readManifest(new FolderReader(path))?.digest;
  } catch {
    return undefined;
  }
}

/**
 * Checks that PID 1, and with it dockerd, sees our mounts. If our unit has a mount namespace of its own (ProtectSystem=
 * and the like), dockerd sees empty folders. Comparing with /proc/1/ns/mnt instead would need CAP_SYS_PTRACE.
 */
export function findHiddenMounts(disks: readonly MountedDisk[]): Finding[] {
  if (disks.length === 0) return [];
  const own = disks.some(({ source }) => source !== undefined) ? readMounts() : [];
  const seen = new Set(readMounts('1').map((mount) => `${mount.deviceNumber} ${mount.path}`));
  return disks
    .filter((disk) => !seen.has(`${numberOf(disk, own)} ${disk.path}`))
    .map((disk) => ({
      code: 'MOUNT_NAMESPACE',
      label: disk.label,
      message: `disk ${disk.label}: expected a mount on ${disk.path} that PID 1 sees, found one in a namespace of our own; remove ProtectSystem=, PrivateTmp= and the like from the unit`,
    }));
}

/** The number that mountinfo has for a disk's filesystem. That of a tag is not known before it is mounted. */
function numberOf({ device, path, source }: MountedDisk, own: readonly MountPoint[]): string {
  return source === undefined ? device.deviceNumber : (own.findLast((one) => one.path === path)?.deviceNumber ?? '');
}

/**
 * Looks for our mounts whose device is gone. While dockerd may use them, each is a finding: images on them give read
 * errors until the disk is back and Docker is restarted. Otherwise they are unmounted, so that another disk with the
 * label can take the place. That is why this comes before mounting.
 */
export function findLostDisks(mountRoot: string, options: { readonly mayUnmount: boolean }): Finding[] {
  const findings: Finding[] = [];
  for (const mount of readMounts()) {
    const { path } = mount;
    if (dirname(path) !== mountRoot || !isLost(mount)) continue;
    if (options.mayUnmount) unmount(path, true);
    else {
      const label = basename(path);
      findings.push({
        code: 'DISK_LOST',
        label,
        message: `disk ${label}: lost: its ${mount.root === '/' ? 'device' : 'folder'} was taken away while it was mounted on ${path}; attach it again, then run: systemctl restart docker`,
      });
    }
  }
  return findings;
}

/**
 * Whether the device of a mount is gone, or the folder. A folder that was removed has this behind its name
 * (fs/d_path.c, dentry_path); one of a filesystem without a block device has a number of major 0.
 */
function isLost(mount: MountPoint): boolean {
  if (mount.root.endsWith('//deleted')) return true;
  if (mount.filesystem === 'tmpfs' || hasMedium(mount.deviceNumber)) return false;
  return !(mount.deviceNumber.startsWith('0:') && isSealed(mount));
}

/** All paths on which something is mounted. */
export function mountedPaths(): ReadonlySet<string> {
  return new Set(readMounts().map(({ path }) => path));
}

/**
 * Unmounts every disk below the mount root and removes its folder, except those to keep.
 * @returns what could not be unmounted, with the reason
 */
export function unmountDisks(mountRoot: string, keep: ReadonlySet<string>): string[] {
  const failures: string[] = [];
  for (const { path } of readMounts()
    .filter((mount) => mount.path.startsWith(`${mountRoot}/`))
    .toReversed()) {
    if (keep.has(path)) continue;
    try {
      unmount(path);
      rmdirSync(path);
    } catch (error) {
      failures.push(`${path}: ${messageOf(error)}`);
    }
  }
  return failures;
}
