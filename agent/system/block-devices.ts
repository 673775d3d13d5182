import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readTextIfThere } from './files.ts';

/** A block device with content, as sysfs shows it. */
export interface BlockDevice {
  readonly name: string;
  /** Its node, which may be missing, as in a container. */
  readonly path: string;
  /** `major:minor`, as mountinfo writes it. */
  readonly deviceNumber: string;
  readonly sizeBytes: number;
  readonly removable: boolean;
  /** Devices made of this one: dm, md, multipath. Those are to be used instead. */
  readonly holders: readonly string[];
}

const SECTOR_BYTES = 512;
const FLOPPY = /^fd\d+$/;

/**
 * The machine's block devices: disks, partitions, loop devices, and what dm and md make of them, in the order of their
 * names. Left out: floppies (opening one can take seconds) and devices of size 0 (free loop devices, empty drives).
 * @param sysfs where sysfs is, for tests
 */
export function listBlockDevices(sysfs: string = '/sys'): BlockDevice[] {
  const folder = join(sysfs, 'class/block');
  if (!existsSync(folder)) return [];
  const devices: BlockDevice[] = [];
  for (const name of readdirSync(folder).toSorted()) {
    if (FLOPPY.test(name)) continue;
    const device = readDevice(join(folder, name), name);
    if (device !== undefined) devices.push(device);
  }
  return devices;
}

function readDevice(entry: string, name: string): BlockDevice | undefined {
  const read = (path: string): string => readFileSync(join(entry, path), 'utf8').trim();
  try {
    const sizeBytes = Number(read('size')) * SECTOR_BYTES;
    if (!(sizeBytes > 0)) return undefined;
    return {
      name,
      // The kernel writes a slash in a device's name as an exclamation mark (lib/kobject.c, kobject_set_name_vargs).
      path: `/dev/${name.replaceAll('!', '/')}`,
      deviceNumber: read('dev'),
      sizeBytes,
      removable: isRemovable(entry),
      holders: readdirSync(join(entry, 'holders')),
    };
  } catch {
    // Taken away while we looked: not there.
    return undefined;
  }
}

/** A partition is as removable as its disk, whose folder its own is in. */
function isRemovable(entry: string): boolean {
  const folder = realpathSync(entry);
  const disk = existsSync(join(folder, 'partition')) ? dirname(folder) : folder;
  return readFileSync(join(disk, 'removable'), 'utf8').trim() === '1';
}

/** Whether a device is still there, by its number, and holds anything: of a card that was pulled out, the drive stays. */
export function hasMedium(deviceNumber: string): boolean {
  return Number(readTextIfThere(`/sys/dev/block/${deviceNumber}/size`) ?? 0) > 0;
}

/** Whether the device node is there, and is that of this device rather than of one that had the name before. */
export function hasNode(device: BlockDevice): boolean {
  const stats = statSync(device.path, { throwIfNoEntry: false });
  return stats !== undefined && stats.isBlockDevice() && deviceNumberOf(stats.rdev) === device.deviceNumber;
}

/** A dev_t of stat(2) as `major:minor` (glibc's gnu_dev_major and gnu_dev_minor, for 32 bits of it). */
export function deviceNumberOf(device: number): string {
  const major = (device >>> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}
