import type { MountPoint } from '../system/mount.ts';
import type { FoundDisk } from './discover.ts';

/** Where a disk belongs, and what is already mounted there. */
export interface Place {
  readonly path: string;
  readonly there: MountPoint | undefined;
}

/** Whether it is this disk that is mounted there. */
export function isAt({ device, source }: FoundDisk, there: MountPoint | undefined): boolean {
  if (there === undefined) return false;
  if (source === undefined) return there.deviceNumber === device.deviceNumber;
  return source.kind === 'folder'
    ? there.deviceNumber === device.deviceNumber && there.root === source.root
    : there.filesystem === source.kind && there.source === source.tag;
}

/** Whether it is mounted as we mount folders, of whatever filesystem. Nobody else is as strict. */
export function isSealed({ options }: MountPoint): boolean {
  return ['ro', 'nosuid', 'nodev', 'noexec'].every((option) => options.includes(option));
}
