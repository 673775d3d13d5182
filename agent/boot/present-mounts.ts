import { rmdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import { hasMedium } from '../system/block-devices.ts';
import { messageOf } from '../system/errors.ts';
import { readMounts, unmount, type MountPoint } from '../system/mount.ts';
import type { MountedDisk } from './mount-disks.ts';
import { isSealed } from './mount-place.ts';

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
 * Looks for our mounts whose device is gone. While a dockerd runs whose own store leads to them, each is a finding:
 * images on them give read errors until the disk is back and Docker is restarted. Otherwise they are unmounted, so that
 * the disk can take the place when it is back, or another one with the label. That is why this comes before mounting.
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
