import { readFileSync } from 'node:fs';
import { cString, systemCall } from './libc.ts';

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_DETACH = 2;

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export interface MountPoint {
  readonly deviceNumber: string;
  readonly path: string;
  readonly filesystem: string;
  readonly id: string;
  /** The folder of its filesystem that is mounted: `/`, or of a bind mount another. */
  readonly root: string;
  /** What it was mounted from: a device, or a tag. */
  readonly source: string;
  /** Of this mount, and of its filesystem wherever that is mounted. */
  readonly options: readonly string[];
}

/**
 * Mounts the filesystem of a disk read-only. Nothing on it can act as a device, gain privileges or be executed from
 * there. Containers can still execute it, because their overlay is a separate mount. ext4 gets `noload`, so that a
 * journal is not replayed, which would write; erofs refuses that option. It also gets `errors=continue`. Otherwise a
 * damaged disk whose superblock says `errors=panic` would crash the guest, even though it is read-only
 * (fs/ext4/super.c, ext4_handle_error).
 * @throws a system error of mount(2)
 */
export function mountReadOnly(device: string, path: string, filesystem: 'ext4' | 'erofs'): void {
  const flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  systemCall(
    'mount',
    cString(device),
    cString(path),
    cString(filesystem),
    flags,
    filesystem === 'ext4' ? cString('noload,errors=continue') : null,
  );
}

/**
 * Mounts an overlay, to find out whether the kernel can do that here. With `volatile` (since Linux 5.10), unmounting it
 * does not first write out everything that is waiting to be written to the upper filesystem (fs/overlayfs/super.c,
 * ovl_sync_fs).
 * @param options `lower`: the topmost first
 * @throws a system error of mount(2)
 */
export function mountOverlay(
  path: string,
  options: {
    readonly lower: readonly string[];
    readonly upper: string;
    readonly work: string;
    readonly volatile: boolean;
  },
): void {
  const data = `lowerdir=${options.lower.join(':')},upperdir=${options.upper},workdir=${options.work}${options.volatile ? ',volatile' : ''}`;
  systemCall('mount', cString('overlay'), cString(path), cString('overlay'), 0, cString(data));
}

/**
 * Gives this process a mount namespace of its own, so that nobody else sees its mounts and they end with it.
 * @throws a system error of unshare(2)
 */
export function enterPrivateMountNamespace(): void {
  const CLONE_NEWNS = 0x20000;
  const MS_REC_PRIVATE = 0x4000 | 0x40000;
  systemCall('unshare', CLONE_NEWNS);
  systemCall('mount', null, cString('/'), null, MS_REC_PRIVATE, null);
}

/** Mounts an empty tmpfs. @throws a system error of mount(2) */
export function mountTmpfs(path: string): void {
  systemCall('mount', cString('tmpfs'), cString(path), cString('tmpfs'), MS_NOSUID | MS_NODEV, null);
}

/** Makes a mount visible in a second place. @throws a system error of mount(2) */
export function mountAgain(source: string, path: string): void {
  const MS_BIND = 0x1000;
  systemCall('mount', cString(source), cString(path), null, MS_BIND, null);
}

/**
 * Unmounts. With `detach`, also a mount that is still in use, or whose device is gone.
 * @throws a system error of umount2(2)
 */
export function unmount(path: string, detach: boolean = false): void {
  systemCall('umount2', cString(path), detach ? MNT_DETACH : 0);
}

/**
 * The mounts that a process sees: `self`, or `1` for those that dockerd will see. The list can be long, so read it
 * once.
 */
export function readMounts(pid: 'self' | '1' = 'self'): MountPoint[] {
  return parseMountInfo(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
}

/** Parses mountinfo. Malformed lines are ignored. */
export function parseMountInfo(text: string): MountPoint[] {
  const mounts: MountPoint[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    const [id, , deviceNumber, root, path, options] = fields;
    const [filesystem, source, superOptions] = fields.slice(separator + 1);
    if (separator === -1 || path === undefined || filesystem === undefined) continue;
    mounts.push({
      deviceNumber: deviceNumber ?? '',
      path: unescapeOctal(path),
      filesystem,
      id: id ?? '',
      root: unescapeOctal(root ?? ''),
      source: unescapeOctal(source ?? ''),
      options: `${options ?? ''},${superOptions ?? ''}`.split(','),
    });
  }
  return mounts;
}

/** The kernel writes space, tab, newline and backslash as \ooo (fs/proc_namespace.c, mangle). */
function unescapeOctal(text: string): string {
  return text.includes('\\')
    ? text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    : text;
}
