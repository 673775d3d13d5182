import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { cleanUpLater } from '../support/cleanup.ts';
import type { LoopDevice } from '../support/loop-device.ts';

/** What a general purpose disk of a cloud gives (AWS gp3 without extras). */
const throttle = { bytesPerSec: 125_000_000, readsPerSec: 3000 } as const;

/** Where the whole executable lies on a system disk, so that the small one in `bin/` finds it. */
export const WHOLE_FROM_BIN = '../lib/docker-preloader/docker-preloader';

const blkio = '/sys/fs/cgroup/blkio';
const unified = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find(
  (folder) =>
    existsSync(`${folder}/cgroup.controllers`) &&
    readFileSync(`${folder}/cgroup.controllers`, 'utf8').split(/\s+/).includes('io'),
);

/**
 * A control group whose reads from the given devices are throttled.
 * @returns the file to write a process id into, or undefined where the machine has no such controller
 */
export async function throttledGroup(devices: readonly string[]): Promise<string | undefined> {
  const parent = existsSync(blkio) ? blkio : unified;
  if (parent === undefined) return undefined;
  const group = path.join(parent, `dpl-bench-${process.pid}`);
  if (!existsSync(group)) {
    mkdirSync(group);
    cleanUpLater(
      `control group ${group}`,
      async () => {
        await execa('rmdir', [group]);
      },
      () => existsSync(group),
    );
  }
  for (const device of devices) {
    const number = readFileSync(`/sys/block/${path.basename(device)}/dev`, 'utf8').trim();
    if (parent === blkio) {
      writeFileSync(`${group}/blkio.throttle.read_bps_device`, `${number} ${throttle.bytesPerSec}`);
      writeFileSync(`${group}/blkio.throttle.read_iops_device`, `${number} ${throttle.readsPerSec}`);
    } else writeFileSync(`${group}/io.max`, `${number} rbps=${throttle.bytesPerSec} riops=${throttle.readsPerSec}`);
  }
  return `${group}/cgroup.procs`;
}

/**
 * Attaches a file as a loop device without the page cache below it: once unmounted, it is cold again.
 * @param readAheadKb how far the kernel reads ahead of it; otherwise as far as it does by itself, which depends on its
 * version
 */
export async function attachCold(file: string, readAheadKb?: number): Promise<LoopDevice> {
  const { stdout: device } = await execa('losetup', ['--find', '--show', '--read-only', '--direct-io=on', file]);
  if (readAheadKb !== undefined) await execa('blockdev', ['--setra', String(readAheadKb * 2), device]);
  const detach = cleanUpLater(`loop device ${device}`, async () => {
    await execa('losetup', ['--detach', device]);
  });
  return { device, detach };
}

/**
 * An ext4 with the given files, by their places in `bin/`, and the libraries that they load, so that they can be cold
 * without anything else on the machine being so: `bin/` and `lib/`, for PATH and LD_LIBRARY_PATH. The dynamic loader
 * itself stays the machine's.
 */
export async function makeSystemDisk(folder: string, programs: Readonly<Record<string, string>>): Promise<string> {
  const tree = path.join(folder, 'system');
  for (const dir of ['bin', 'lib']) mkdirSync(path.join(tree, dir), { recursive: true });
  for (const [name, file] of Object.entries(programs)) {
    const place = path.join(tree, 'bin', name);
    mkdirSync(path.dirname(place), { recursive: true });
    await execa('cp', ['--dereference', file, place]);
    const { stdout } = await execa('ldd', [file], { reject: false });
    for (const [, library] of stdout.matchAll(/=> (\/\S+)/g))
      await execa('cp', ['--dereference', '--update', library ?? '', path.join(tree, 'lib')]);
  }
  const disk = path.join(folder, 'system.ext4');
  await execa('truncate', ['--size', '2G', disk]);
  await execa('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', '-O', '^has_journal', '-d', tree, disk]);
  await execa('rm', ['-rf', tree]);
  return disk;
}
