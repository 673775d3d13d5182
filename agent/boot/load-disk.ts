import { requiredDigests, type Required } from '../config/required.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { readDisk } from '../disk/read-disk.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { unmount } from '../system/mount.ts';
import { isSameDisk } from './discover.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import type { MountedDisk } from './mount-disks.ts';

export interface LoadOptions {
  readonly required: readonly Required[];
  /** Disks as a look before this one has read them: one that is mounted still is not read again. */
  readonly before: readonly LoadedDisk[];
  /** Nothing runs from the disks. */
  readonly mayUnmount: boolean;
}

/** What a mounted disk came to. */
export interface Load {
  /** Undefined where it is left out: the findings say why. */
  readonly disk: LoadedDisk | undefined;
  readonly findings: readonly Finding[];
}

/** Reads what is on a mounted disk, of a pinned one with the digests of all files. */
export async function loadDisk(mounted: MountedDisk, options: LoadOptions): Promise<Load> {
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

/** Unmounts a disk that is not what was pinned. @returns the finding that it is left out */
export function leaveOut(
  { label, device, path, adopted }: MountedDisk,
  error: unknown,
  { required, mayUnmount }: Pick<LoadOptions, 'required' | 'mayUnmount'>,
): Finding {
  // What stays in the store for a container has links to where the right disk would be: they must not lead to this one.
  if (requiredDigests(required, label) !== undefined && (mayUnmount || !adopted)) unmount(path, true);
  return {
    code: error instanceof PreloaderError ? error.code : 'DISK_LAYOUT',
    label,
    device: device.path,
    message: `disk ${label} (${device.path}) is left out: ${messageOf(error)}`,
  };
}
