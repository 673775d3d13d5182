import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readTextIfThere } from './read-files.ts';

/** A block device with content, as sysfs shows it. */
export interface BlockDevice {
  readonly name: string;
  /** Its device node, which may be missing, for example in a container. */
  readonly path: string;
  /** `major:minor`, as in mountinfo. */
  readonly deviceNumber: string;
  readonly sizeBytes: number;
  readonly removable: boolean;
  /** Devices made from this one (dm, md, multipath), which have to be used instead. */
  readonly holders: readonly string[];
}

const SECTOR_BYTES = 512;
const FLOPPY = /^fd\d+$/;
/** Without its partitions. */
const LOOP = /^loop\d+$/;

/**
 * The machine's block devices: disks, partitions, loop devices, and what dm and md make of them, ordered by name.
 * Floppies are left out because opening one can take seconds, and so are devices of size 0 (free loop devices, empty
 * drives).
 * @param sysfs where sysfs is mounted, for tests
 * @param procfs the same
 */
export function listBlockDevices(sysfs: string = '/sys', procfs: string = '/proc'): BlockDevice[] {
  const folder = join(sysfs, 'class/block');
  if (!existsSync(folder)) return [];
  const devices: BlockDevice[] = [];
  const inUse = loopsInUse(procfs);
  for (const name of readdirSync(folder).toSorted()) {
    if (FLOPPY.test(name) || (inUse !== undefined && LOOP.test(name) && !inUse.has(name))) continue;
    const device = readDevice(join(folder, name), name);
    if (device !== undefined) devices.push(device);
  }
  return devices;
}

/**
 * The loop devices that have content. A machine may have a hundred that have none, and sysfs tells the size of each in
 * a file of its own, while this is one for all (block/genhd.c, show_partition; what it hides is of no loop device).
 * @returns undefined where the kernel does not tell
 */
function loopsInUse(procfs: string): ReadonlySet<string> | undefined {
  const text = readTextIfThere(join(procfs, 'partitions'));
  return text === undefined ? undefined : new Set(text.match(/\bloop\d+$/gm));
}

function readDevice(entry: string, name: string): BlockDevice | undefined {
  const read = (file: string): string => readFileSync(`${entry}/${file}`, 'utf8').trim();
  try {
    const sizeBytes = Number(read('size')) * SECTOR_BYTES;
    if (!(sizeBytes > 0)) return undefined;
    return {
      name,
      // In sysfs, a slash in a device's name is an exclamation mark (lib/kobject.c, kobject_set_name_vargs).
      path: `/dev/${name.replaceAll('!', '/')}`,
      deviceNumber: read('dev'),
      sizeBytes,
      removable: isRemovable(entry),
      holders: readdirSync(`${entry}/holders`),
    };
  } catch {
    // It was removed while we looked at it.
    return undefined;
  }
}

/**
 * Whether it is removable. For a partition, its disk says so, whose folder is the one above: that of the device, to
 * which the entry is a link.
 */
function isRemovable(entry: string): boolean {
  const disk = existsSync(`${entry}/partition`) ? `${entry}/..` : entry;
  return readFileSync(`${disk}/removable`, 'utf8').trim() === '1';
}

/**
 * Whether a CD-ROM drive is one of a virtual machine, by the vendor that its hypervisor gives it: QEMU's own,
 * VirtualBox, VMware, Hyper-V.
 * @param sysfs where sysfs is mounted, for tests
 */
export function isVirtualDrive(name: string, sysfs: string = '/sys'): boolean {
  return /^(QEMU|VBOX|NECVMWar|Msft)\b/.test(readTextIfThere(`${sysfs}/class/block/${name}/device/vendor`) ?? '');
}

/** Whether the device with this number still exists and has a medium. When a card is pulled out, the drive stays. */
export function hasMedium(deviceNumber: string): boolean {
  return Number(readTextIfThere(`/sys/dev/block/${deviceNumber}/size`) ?? 0) > 0;
}

/** Whether the device node exists and belongs to this device, and not to one that had the name before. */
export function hasNode(device: BlockDevice): boolean {
  const stats = statSync(device.path, { throwIfNoEntry: false });
  return stats !== undefined && stats.isBlockDevice() && deviceNumberOf(stats.rdev) === device.deviceNumber;
}

/** A dev_t of stat(2) as `major:minor` (glibc's gnu_dev_major and gnu_dev_minor, for 32 bits). */
export function deviceNumberOf(device: number): string {
  const major = (device >>> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}
