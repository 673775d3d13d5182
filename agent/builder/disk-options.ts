import type { ReadAheadList } from '../disk/read-ahead-list.ts';
import type { ArchiveArgument } from './archive/archive-argument.ts';
import type { PlatformChoice } from './archive/platform.ts';
import type { SourceLock } from './source/source-lock.ts';
import type { BlobMode } from './plan-blobs.ts';
import type { RegistryAccess } from './source/image-clients.ts';
import type { BaseDisk } from './store-tree.ts';

/** What a disk is written as. A `containerdisk` is a qcow2 in an image, as KubeVirt and registries take it. */
export const DISK_FORMATS = ['qcow2', 'raw', 'containerdisk', 'vmdk', 'vdi', 'vhdx'] as const;
type DiskFormat = (typeof DISK_FORMATS)[number];

export interface BuildOptions {
  readonly archives: readonly ArchiveArgument[];
  readonly access: RegistryAccess;
  /** What may be taken, or is to be written down; undefined if anything may. */
  readonly lock: SourceLock | undefined;
  /** A file, or `-`; undefined in a dry run without an output. */
  readonly output: string | undefined;
  readonly format: DiskFormat;
  readonly filesystem: 'ext4' | 'erofs';
  /** The filesystem's size; undefined for as much as is needed. */
  readonly sizeBytes: number | undefined;
  /** Undefined for one made from the content's digest. */
  readonly label: string | undefined;
  readonly priority: number;
  /** A familiar reference for the only image without a name. */
  readonly tag: string | undefined;
  readonly choice: PlatformChoice;
  readonly compress: boolean;
  /**
   * Where a registry is to have the disk, as `docker://…`; undefined for nowhere. Its format is then `containerdisk`.
   */
  readonly push: string | undefined;
  /** Which layers are also there as the blobs that containerd's store has. */
  readonly blobs: BlobMode;
  /** The layers of these disks are left out. */
  readonly bases: readonly BaseDisk[];
  /** What to read ahead for the first containers. Files that are not on the disk are left out. */
  readonly readAhead: ReadAheadList | undefined;
  /** The file of the key that signs the disk, if one does. */
  readonly sign: string | undefined;
  /** Everything is read and worked out as usual, but no disk is written. */
  readonly dryRun: boolean;
}
