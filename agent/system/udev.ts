import { existsSync } from 'node:fs';

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
