import type { ReadAheadList } from '../disk/read-ahead-list.ts';
import type { ArchiveArgument } from './archive/archive-argument.ts';
import type { PlatformChoice } from './archive/platform.ts';
import type { BaseDisk } from './store-tree.ts';

export interface BuildOptions {
  readonly archives: readonly ArchiveArgument[];
  /** A file, or `-`; undefined in a dry run that need not say where. */
  readonly output: string | undefined;
  readonly format: 'qcow2' | 'raw';
  readonly filesystem: 'ext4' | 'erofs';
  /** The filesystem's size; as needed where undefined. */
  readonly sizeBytes: number | undefined;
  /** From the content's digest where undefined. */
  readonly label: string | undefined;
  readonly priority: number;
  /** A familiar reference for the one image that has no name. */
  readonly tag: string | undefined;
  readonly choice: PlatformChoice;
  readonly compress: boolean;
  /** Layers of these disks are left out. */
  readonly bases: readonly BaseDisk[];
  /** What to read ahead of the first containers, as far as it is on the disk. */
  readonly readAhead: ReadAheadList | undefined;
  /** All is read and worked out as ever, and no disk written. */
  readonly dryRun: boolean;
}
