import type { Config } from '../config/config.ts';
import { requiredDigests } from '../config/required.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { readDisk, type DiskContent } from '../disk/read-disk.ts';
import type { Finding } from '../messages/finding.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { unmount } from '../system/mount.ts';
import { isSameDisk } from './discover.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import type { MountedDisk } from './mount-disks.ts';

/** What a disk's content has to be proven by. */
type Trust = Pick<Config, 'required' | 'trustedKeys'>;

export interface LoadOptions extends Trust {
  /** Disks as an earlier look has read them. One that is still mounted is not read again. */
  readonly before: readonly LoadedDisk[];
  /** Whether disks may be unmounted, because no store leads to them that stays as it is. */
  readonly mayUnmount: boolean;
}

/** The result of reading a mounted disk. */
export interface LoadResult {
  /** Undefined if it is left out. The findings say why. */
  readonly disk: LoadedDisk | undefined;
  readonly findings: readonly Finding[];
}

/**
 * Reads what is on a mounted disk. If its content is pinned or signed, each file that is read is compared with its
 * digest.
 */
export async function loadDisk(mounted: MountedDisk, options: LoadOptions): Promise<LoadResult> {
  const { label, path, adopted } = mounted;
  const before = options.before.find((disk) => isSameDisk(disk.mounted, mounted) && disk.mounted.path === path);
  if (before !== undefined && adopted)
    return { disk: { mounted, content: before.content }, findings: before.content.findings };
  try {
    const content = await contentOf(label, path, options);
    if (mounted.source !== undefined) (await import('./check-source.ts')).checkSource(mounted, content);
    return { disk: { mounted, content }, findings: content.findings };
  } catch (error) {
    return { disk: undefined, findings: [leaveOut(mounted, error, options)] };
  }
}

async function contentOf(label: string, path: string, { required, trustedKeys }: Trust): Promise<DiskContent> {
  const digests = requiredDigests(required, label);
  if (trustedKeys !== undefined)
    return (await import('../disk/signed-disk.ts')).readSignedDisk(label, path, trustedKeys, digests);
  return digests === undefined
    ? readDisk(label, new FolderReader(path))
    : (await import('../disk/pinned-reader.ts')).readPinnedDisk(label, path, digests);
}

/** Whether a disk with this label must have certain content, or be signed. */
export function isProven(label: string, { required, trustedKeys }: Trust): boolean {
  return trustedKeys !== undefined || requiredDigests(required, label) !== undefined;
}

/**
 * Leaves a disk out, and unmounts it if its content is pinned, or was to be signed.
 * @returns the finding that says so
 */
export function leaveOut(
  { label, device, path, adopted }: MountedDisk,
  error: unknown,
  { mayUnmount, ...trust }: Omit<LoadOptions, 'before'>,
): Finding {
  // Layers that stay in the store for a container have links to where the right disk is mounted. They must not lead to
  // this one.
  if (isProven(label, trust) && (mayUnmount || !adopted)) unmount(path, true);
  return {
    code: error instanceof PreloaderError ? error.code : 'DISK_LAYOUT',
    label,
    device: device.path,
    message: `disk ${label} (${device.path}) is left out: ${messageOf(error)}`,
  };
}
