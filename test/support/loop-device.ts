import { existsSync, readFileSync, statSync } from 'node:fs';
import { cp, truncate } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { deviceNumberOf, type BlockDevice } from '../../agent/system/block-devices.ts';
import { cleanUpLater } from './cleanup.ts';

export interface LoopDevice {
  /** `/dev/loopN` */
  readonly device: string;
  /** Detaches it; while it is mounted the kernel does that once it is unmounted. */
  readonly detach: () => Promise<void>;
}

/**
 * Attaches a disk image read-only as a loop device, which is gone after the run.
 * @param options `copy`: the file is nobody else's, and is emptied when the device goes
 */
export async function attach(file: string, options: { readonly copy: boolean } = { copy: false }): Promise<LoopDevice> {
  const { stdout: device } = await execa('losetup', ['--find', '--show', '--read-only', file]);
  return {
    device,
    detach: cleanUpLater(`loop device ${device}`, () => (options.copy ? discard(device, file) : detach(device))),
  };
}

/**
 * Detaches without waiting: a device of no size is no disk, for as long as another mount namespace may hold it. Some,
 * as those of other tests' containers, do for minutes.
 */
async function discard(device: string, file: string): Promise<void> {
  await truncate(file, 0);
  await execa('losetup', ['--set-capacity', device]);
  await execa('losetup', ['--detach', device]);
}

const GONE_WITHIN_MS = 15_000;

/**
 * Detaches and waits until the device is free: a container or another test that has just made a mount namespace holds a
 * copy of each mount for a moment, and the kernel frees the device only after the last of them.
 */
async function detach(device: string): Promise<void> {
  const name = path.basename(device);
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${device} `);
  await execa('losetup', ['--detach', device]);
  const deadline = performance.now() + GONE_WITHIN_MS;
  while (!mounted && existsSync(`/sys/block/${name}/loop/backing_file`)) {
    if (performance.now() > deadline)
      throw new Error(`${device}: expected to be free within ${GONE_WITHIN_MS / 1000} s, but something still uses it`);
    await delay(20);
  }
}

/**
 * Copies an ext4 disk image and gives the copy another label, so that disks of tests that run at the same time on one
 * machine do not claim the same label.
 */
export async function copyWithLabel(disk: string, copy: string, label: string): Promise<void> {
  await cp(disk, copy);
  // tune2fs -L writes the superblock alone, which is all that a label is.
  await execa('tune2fs', ['-L', label, copy]);
}

/** A loop device as the agent lists it. @param file what it is attached to */
export function blockDeviceOf(device: string, file: string): BlockDevice {
  return {
    name: path.basename(device),
    path: device,
    deviceNumber: deviceNumberOf(statSync(device).rdev),
    sizeBytes: statSync(file).size,
    removable: false,
    holders: [],
  };
}
