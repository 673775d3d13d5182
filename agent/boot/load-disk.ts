import { requiredDigests, type RequiredDisk } from '../config/required.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { readDisk } from '../disk/read-disk.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { unmount } from '../system/mount.ts';
import { isSameDisk } from './discover.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import type { MountedDisk } from './mount-disks.ts';

export interface LoadOptions {
  readonly required: readonly RequiredDisk[];
  /** Disks as an earlier look has read them. One that is still mounted is not read again. */
  readonly before: readonly LoadedDisk[];
  /** Whether disks may be unmounted, because nothing runs from them. */
  readonly mayUnmount: boolean;
}

/** The result of reading a mounted disk. */
export interface LoadResult {
  /** Undefined if it is left out. The findings say why. */
  readonly disk: LoadedDisk | undefined;
  readonly findings: readonly Finding[];
}

/** Reads what is on a mounted disk. If its content is pinned, each file that is read is compared with its digest. */
export async function loadDisk(mounted: MountedDisk, options: LoadOptions): Promise<LoadResult> {
  const { label, path, adopted } = mounted;
  const before = options.before.find((disk) => isSameDisk(disk.mounted, mounted) && disk.mounted.path === path);
  if (before !== undefined && adopted)
    return { disk: { mounted, content: before.content }, findings: before.content.findings };
  try {
    const digests = requiredDigests(options.required, label);
    const content =
      digests === undefined
        ? readDisk(label, new FolderReader(path))
        : (await import('../disk/pinned-reader.ts')).readPinnedDisk(label, path, digests);
    return { disk: { mounted, content }, findings: content.findings };
  } catch (error) {
    return { disk: undefined, findings: [leaveOut(mounted, error, options)] };
  }
}

/** Leaves a disk out, and unmounts it if its content is pinned. @returns the finding that says so */
export function leaveOut(
  { label, device, path, adopted }: MountedDisk,
  error: unknown,
  { required, mayUnmount }: Pick<LoadOptions, 'required' | 'mayUnmount'>,
): Finding {
  // Layers that stay in the store for a container have links to where the pinned disk is mounted. They must not lead to
  // this one.
  if (requiredDigests(required, label) !== undefined && (mayUnmount || !adopted)) unmount(path, true);
  return {
    code: error instanceof PreloaderError ? error.code : 'DISK_LAYOUT',
    label,
    device: device.path,
    message: `disk ${label} (${device.path}) is left out: ${messageOf(error)}`,
  };
}
