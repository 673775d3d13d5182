import { cp } from 'node:fs/promises';
import { execa } from 'execa';
import { cleanUpLater } from './cleanup.ts';

export interface LoopDevice {
  /** `/dev/loopN` */
  readonly device: string;
  /** Detaches it; while it is mounted the kernel does that once it is unmounted. */
  detach(): Promise<void>;
}

/** Attaches a disk image read-only as a loop device, which is gone after the run. */
export async function attach(file: string): Promise<LoopDevice> {
  const { stdout: device } = await execa('losetup', ['--find', '--show', '--read-only', file]);
  return { device, detach: cleanUpLater(`loop device ${device}`, async () => void await execa('losetup', ['--detach', device])) };
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
