import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { cString, systemCall } from './libc.ts';
import { unmount } from './mount.ts';

/** open(2): holds a place in the tree without reading from it. */
const O_PATH = 0x20_0000;

const MS_RDONLY = 1;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_REMOUNT = 0x20;
const MS_BIND = 0x1000;
const SEALED = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

/** A folder that is held: whatever becomes of its name, this is the one. */
export interface HeldFolder {
  /** Its path without symlinks. */
  readonly path: string;
  /** The ID of the mount that it is on, as mountinfo has it. */
  readonly mountId: string;
  readonly inode: number;
  /** What leads to it and to nothing else, as long as it is held. */
  readonly place: string;
}

/**
 * Holds a folder while it is looked at or mounted. The folder itself may be no symlink; those above it are followed.
 * @throws system errors, ENOTDIR for a symlink and whatever else is no folder
 */
export function holdFolder<Result>(path: string, action: (folder: HeldFolder) => Result): Result {
  const fd = openSync(path, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const place = `/proc/self/fd/${fd}`;
    const mountId = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
    return action({ path: readlinkSync(place), mountId, inode: fstatSync(fd).ino, place });
  } finally {
    closeSync(fd);
  }
}

/**
 * Mounts a folder in a second place, read-only, without what is mounted below it. Nothing on it can act as a device,
 * gain privileges or be executed from there.
 * @throws system errors of mount(2); nothing is then mounted
 */
export function bindReadOnly({ place }: HeldFolder, path: string): void {
  systemCall('mount', cString(place), cString(path), null, MS_BIND, null);
  try {
    // The kernel takes these flags of a bind mount only when it is mounted again (mount(2)).
    systemCall('mount', null, cString(path), null, MS_REMOUNT | MS_BIND | SEALED, null);
  } catch (error) {
    unmount(path, true);
    throw error;
  }
}

/**
 * Mounts what another machine shares under a tag, read-only, under the same restrictions. What 9p shares does not
 * change, so that the kernel may keep all that it has read; and its protocol for Linux is the only one that has device
 * files.
 * @throws a system error of mount(2): EINVAL (virtiofs) or ENOENT (9p) where there is no such tag, ENODEV where the
 * kernel has no such filesystem
 */
export function mountTag(kind: 'virtiofs' | '9p', tag: string, path: string): void {
  const data = kind === '9p' ? cString('trans=virtio,version=9p2000.L,cache=loose,msize=512000') : null;
  systemCall('mount', cString(tag), cString(path), cString(kind), SEALED, data);
}

/**
 * Mounts an overlay of two lower folders and nothing to write to, to find out whether the kernel takes them.
 * @throws a system error of mount(2)
 */
export function mountLowers(path: string, upper: string, lower: string): void {
  systemCall(
    'mount',
    cString('overlay'),
    cString(path),
    cString('overlay'),
    SEALED,
    cString(`lowerdir=${upper}:${lower}`),
  );
}

/**
 * How long the value of an extended attribute is.
 * @throws a system error of lgetxattr(2), ENODATA where there is none
 */
export function xattrLength(path: Uint8Array, name: string): number {
  const bytes = Buffer.concat([path, Buffer.alloc(1)]);
  // Without room for a value, the call only tells how long it is (lgetxattr(2)); the library wants some place all the
  // same.
  return systemCall('lgetxattr', bytes, cString(name), Buffer.alloc(1), 0);
}
