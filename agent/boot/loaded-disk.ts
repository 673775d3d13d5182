import type { DiskContent } from '../disk/read-disk.ts';
import type { MountedDisk } from './mount-disks.ts';

/** A disk that is in use, with what is on it. */
export interface LoadedDisk {
  readonly mounted: MountedDisk;
  readonly content: DiskContent;
}
