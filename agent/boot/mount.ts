import { existsSync, rmdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Finding } from '../disk/finding.ts';
import { readManifest } from '../disk/manifest.ts';
import { DiskTree } from '../disk/tree.ts';
import { messageOf } from '../system/errors.ts';
import { ensureFolder, isDirectory, makeFolder } from '../system/files.ts';
import { mountReadOnly, readMounts, unmount, type MountPoint } from '../system/mount.ts';
import type { Discovery, FoundDisk } from './discover.ts';

export interface MountedDisk extends FoundDisk {
  readonly path: string;
  /** It was mounted there already, by an earlier run in this boot. */
  readonly adopted: boolean;
}

export interface Mounts {
  readonly disks: readonly MountedDisk[];
  readonly findings: readonly Finding[];
}

/**
 * Mounts each disk in a folder of its label. What is mounted there already is used if it is the same device.
 * @param tell is told of each disk once it is there
 */
export function mountDisks(discovery: Discovery, mountRoot: string, tell: (disk: MountedDisk) => void = () => undefined): Mounts {
  const disks: MountedDisk[] = [];
  const findings: Finding[] = [];
  if (discovery.disks.size === 0) return { disks, findings };
  // Layers hold files that not every user of the guest may read.
  ensureFolder(mountRoot, 0o700);
  const present = readMounts();
  for (const [label, candidates] of discovery.disks) {
    try {
      const disk = candidates.length === 1 ? candidates[0] : chooseDuplicate(label, candidates, mountRoot, findings);
      if (disk === undefined) continue;
      const mounted = mountDisk(disk, mountRoot, present);
      tell(mounted);
      disks.push(mounted);
    } catch (error) {
      findings.push({ code: isBusy(error) ? 'MOUNT_BUSY' : 'MOUNT_FAILED', label, device: candidates[0]?.device.path ?? '', message: `disk ${label} (${candidates[0]?.device.path ?? ''}): ${messageOf(error)}` });
    }
  }
  return { disks, findings };
}

class MountBusy extends Error {}
const isBusy = (error: unknown): boolean => error instanceof MountBusy;

function mountDisk(disk: FoundDisk, mountRoot: string, present: readonly MountPoint[]): MountedDisk {
  const path = join(mountRoot, disk.label);
  const there = present.findLast((mount) => mount.path === path);
  if (there?.deviceNumber === disk.device.deviceNumber) return { ...disk, path, adopted: true };
  if (there !== undefined) throw new MountBusy(`nothing else mounted on ${path} expected, found device ${there.deviceNumber}; unmount it, or restart Docker if the disk was replaced`);
  // The kernel would mount it where a symlink leads to, and list it there.
  if (!makeFolder(path, 0o755) && !isDirectory(path)) throw new Error(`${path}: a folder expected, found something else; remove it`);
  mountReadOnly(disk.device.path, path, disk.superblock.filesystem);
  return { ...disk, path, adopted: false };
}

/**
 * Of devices with one label: the first, if the manifests of all say that their content is the same; none otherwise,
 * since which one was meant cannot be known.
 */
function chooseDuplicate(label: string, candidates: readonly FoundDisk[], mountRoot: string, findings: Finding[]): FoundDisk | undefined {
  const digests = new Set(candidates.map((disk, index) => manifestDigestOf(disk, join(mountRoot, `.duplicate-${index}`)) ?? `unknown ${index}`));
  if (digests.size === 1) return candidates[0];
  const devices = candidates.map((disk) => disk.device.path).join(', ');
  findings.push({ code: 'LABEL_DUPLICATE', label, device: devices, message: `disk ${label}: one device expected, found ${devices} with different or unknown content; all are left out` });
  return undefined;
}

function manifestDigestOf(disk: FoundDisk, path: string): string | undefined {
  ensureFolder(path, 0o700);
  try {
    mountReadOnly(disk.device.path, path, disk.superblock.filesystem);
    try {
      return readManifest(new DiskTree(path))?.digest;
    } finally {
      unmount(path, true);
    }
  } catch {
    return undefined;
  } finally {
    rmdirSync(path);
  }
}

/**
 * Checks that PID 1, and with it dockerd, sees our mounts. A unit with a mount namespace of its own (ProtectSystem= and
 * the like) would leave dockerd with empty folders. Reading /proc/1/ns/mnt would need CAP_SYS_PTRACE.
 */
export function findHiddenMounts(disks: readonly MountedDisk[]): Finding[] {
  if (disks.length === 0) return [];
  const seen = new Set(readMounts('1').map((mount) => `${mount.deviceNumber} ${mount.path}`));
  return disks
    .filter((disk) => !seen.has(`${disk.device.deviceNumber} ${disk.path}`))
    .map((disk) => ({
      code: 'MOUNT_NAMESPACE',
      label: disk.label,
      message: `disk ${disk.label}: a mount on ${disk.path} that PID 1 sees expected, found one in a namespace of our own; remove ProtectSystem=, PrivateTmp= and the like from the unit`,
    }));
}

/**
 * Mounts of ours whose device is gone. While dockerd may use them they are lost: what stands on them gives read errors
 * until the disk is back and Docker restarted. Otherwise they are let go: for another disk of that label, or the store goes
 * without them. So this comes before mounting.
 */
export function findLostDisks(mountRoot: string, options: { readonly mayUnmount: boolean }): Finding[] {
  const findings: Finding[] = [];
  for (const { path, filesystem, deviceNumber } of readMounts()) {
    if (dirname(path) !== mountRoot || filesystem === 'tmpfs' || existsSync(`/sys/dev/block/${deviceNumber}`)) continue;
    if (options.mayUnmount) unmount(path, true);
    else {
      const label = basename(path);
      findings.push({ code: 'DISK_LOST', label, message: `disk ${label}: lost: its device was taken away while it was mounted on ${path}; attach it again, then run: systemctl restart docker` });
    }
  }
  return findings;
}

/** Unmounts every disk below the mount root but those to keep; the folders go, too. Returns what could not be unmounted. */
export function unmountDisks(mountRoot: string, keep: ReadonlySet<string>): string[] {
  const failures: string[] = [];
  for (const { path } of readMounts().filter((mount) => mount.path.startsWith(`${mountRoot}/`)).toReversed()) {
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
