import { existsSync } from 'node:fs';
import { readTextIfThere } from './read-files.ts';

/** Where systemd-udevd listens. It exists as long as udevd runs. */
const CONTROL = '/run/udev/control';
/** Exists as long as events are queued or handled (systemd, src/udev/udev-manager.c, `/run/udev/queue`). */
const QUEUE = '/run/udev/queue';

/** Whether udev runs here. Containers and small guests have none. */
export function isUdevRunning(): boolean {
  return existsSync(CONTROL);
}

/** Whether udev has handled every device that the kernel has announced so far. */
export function isUdevQueueEmpty(): boolean {
  return !existsSync(QUEUE);
}

/**
 * The label of a device's filesystem as udev has read it (its ID_FS_LABEL), or undefined if udev found none. Characters
 * that our labels cannot have are underscores there.
 * @param folder udev's database, for tests
 */
export function labelByUdev(deviceNumber: string, folder: string = '/run/udev/data'): string | undefined {
  return /^E:ID_FS_LABEL=(.+)$/m.exec(readTextIfThere(`${folder}/b${deviceNumber}`) ?? '')?.[1];
}

/**
 * Whether udev has found a drive without a disc. Its cdrom_id says in any case which discs a drive takes
 * (ID_CDROM_DVD=1), and ID_CDROM_MEDIA=1 only where there is one (systemd, src/udev/cdrom_id/cdrom_id.c).
 * @param folder udev's database, for tests
 */
export function isDriveEmpty(deviceNumber: string, folder: string = '/run/udev/data'): boolean {
  const text = readTextIfThere(`${folder}/b${deviceNumber}`) ?? '';
  return /^E:ID_CDROM_[A-Z_]+=1$/m.test(text) && !/^E:ID_CDROM_MEDIA=1$/m.test(text);
}

/**
 * When udev had finished with a block device, CLOCK_MONOTONIC in microseconds (its USEC_INITIALIZED), or undefined if
 * it has not seen the device. Read from udev's file, because udevadm would need a process for each device.
 */
export function initializedUsec(deviceNumber: string): number | undefined {
  const match = /^I:(\d+)$/m.exec(readTextIfThere(`/run/udev/data/b${deviceNumber}`) ?? '');
  return match === null ? undefined : Number(match[1]);
}
