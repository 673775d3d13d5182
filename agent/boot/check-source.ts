import { closeSync, constants, lstatSync, openSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FolderReader } from '../disk/folder-reader.ts';
import type { Sample } from '../disk/manifest.ts';
import type { DiskContent } from '../disk/read-disk.ts';
import { isENODEV, messageOf, PreloaderError } from '../system/errors.ts';
import { ensureFolder } from '../system/write-files.ts';
import { mountLowers, xattrLength } from '../system/folder-mount.ts';
import { unmount } from '../system/mount.ts';
import { printable } from '../text/printable.ts';
import type { MountedDisk } from './mount-disks.ts';

/** Filesystems that keep all that was copied to them. What others keep depends on who shares them, and how. */
const WHOLE: ReadonlySet<string> = new Set(['ext4', 'erofs', 'xfs', 'btrfs', 'f2fs', 'squashfs', 'tmpfs']);
/** `build` lists one file of each kind. */
const MAX_SAMPLES = 64;

/**
 * Checks that layers in a folder are what they were on their disk, and that the kernel makes containers of them.
 * @throws PreloaderError SOURCE_LOSSY, SOURCE_UNSUPPORTED
 */
export function checkSource({ path, superblock }: MountedDisk, { manifest }: Pick<DiskContent, 'manifest'>): void {
  checkLowers(path);
  if (manifest?.samples === undefined) {
    if (!WHOLE.has(superblock.filesystem))
      throw new PreloaderError(
        'SOURCE_LOSSY',
        `expected a disk that says what is to come through ${superblock.filesystem}, found one of an earlier docker-preloader or of dockerd; build it again`,
      );
    return;
  }
  const files = new FolderReader(path);
  for (const sample of manifest.samples.slice(0, MAX_SAMPLES)) {
    const fault = faultOf(files, sample);
    if (fault !== undefined)
      throw new PreloaderError(
        'SOURCE_LOSSY',
        `${printable(sample.path)}: ${fault} on ${superblock.filesystem}; copy the disk's files with cp -a as root, and share them with devices, owners and all extended attributes`,
      );
  }
}

function faultOf(files: FolderReader, { path, xattr, owner }: Sample): string | undefined {
  if (files.kindOf(path) === undefined) return 'expected a file, found none';
  const bytes = Buffer.from(files.pathOf(path), 'latin1');
  const { mode, rdev, uid, gid } = lstatSync(bytes);
  if (xattr !== undefined) {
    try {
      xattrLength(bytes, xattr);
      return undefined;
    } catch {
      return `expected the extended attribute ${printable(xattr)}, found none`;
    }
  }
  if (owner !== undefined)
    return owner === `${uid}:${gid}` ? undefined : `expected owner ${printable(owner)}, found ${uid}:${gid}`;
  const CHARACTER_DEVICE = 0o020000;
  return (mode & 0o170000) === CHARACTER_DEVICE && rdev === 0
    ? undefined
    : 'expected a whiteout, which is a character device 0:0, found another file';
}

/** Mounts an overlay on the folder for a moment, because only the kernel knows where it can (fs/overlayfs/super.c). */
function checkLowers(path: string): void {
  const place = join(dirname(path), `.lower-${process.pid}`);
  ensureFolder(place, 0o700);
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    // By descriptor, because the options of a mount cannot have a path with colons or commas.
    mountLowers(place, `/proc/self/fd/${fd}/overlay2`, `/proc/self/fd/${fd}/image`);
    unmount(place, true);
  } catch (error) {
    // If the kernel has no overlay at all, that is not the folder's fault.
    if (!isENODEV(error))
      throw new PreloaderError(
        'SOURCE_UNSUPPORTED',
        `expected a folder on which the kernel mounts an overlay, found one where it does not (${messageOf(error)}); look at: dmesg`,
        { cause: error },
      );
  } finally {
    closeSync(fd);
    rmdirSync(place);
  }
}
