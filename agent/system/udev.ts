import { existsSync } from 'node:fs';
import { readTextIfThere } from './files.ts';

/** Where systemd-udevd listens; there as long as it runs. */
const CONTROL = '/run/udev/control';
/** There as long as events are queued or handled (systemd, src/udev/udev-manager.c, `/run/udev/queue`). */
const QUEUE = '/run/udev/queue';

/** Whether udev runs here: containers and small guests have none. */
export function isUdevRunning(): boolean {
  return existsSync(CONTROL);
}

/** Whether udev has handled all devices that the kernel has announced so far. */
export function isUdevQueueEmpty(): boolean {
  return !existsSync(QUEUE);
}

/**
 * The label of a device's filesystem as udev has read it (its ID_FS_LABEL), or undefined where it has found none. Other
 * characters than a label of ours may have are underscores there.
 * @param folder udev's database, for tests
 */
export function labelByUdev(deviceNumber: string, folder: string = '/run/udev/data'): string | undefined {
  return /^E:ID_FS_LABEL=(.+)$/m.exec(readTextIfThere(`${folder}/b${deviceNumber}`) ?? '')?.[1];
}

/**
 * When udev was done with a block device, CLOCK_MONOTONIC in microseconds (its USEC_INITIALIZED), or undefined where it
 * has not seen it. The file is read: udevadm would cost a process for each.
 */
export function initializedUsec(deviceNumber: string): number | undefined {
  const match = /^I:(\d+)$/m.exec(readTextIfThere(`/run/udev/data/b${deviceNumber}`) ?? '');
  return match === null ? undefined : Number(match[1]);
}
