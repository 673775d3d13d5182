import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { cleanUpLater } from '../support/cleanup.ts';
import type { LoopDevice } from '../support/loop-device.ts';
import { unmountBelow } from '../support/temp-tree.ts';
import { attachCold } from './cold.ts';

/** What a disk gives, all who read from it together. */
export interface DiskSpeed {
  readonly bytesPerSec: number;
  readonly readsPerSec: number;
  /** Of each read. */
  readonly latencyUsec: number;
}

/**
 * Attaches a file as a loop device that is as slow as a disk; once unmounted, it is cold again.
 * @param program slow-disk.c, compiled
 * @param folder a new one, for the mount that the device stands on
 */
export async function attachSlow(program: string, file: string, folder: string, speed: DiskSpeed): Promise<LoopDevice> {
  mkdirSync(folder);
  // The disk is slow, and not the file behind it.
  await execa('cat', [file], { stdout: 'ignore' });
  const child = spawn(
    program,
    [file, folder, String(speed.bytesPerSec), String(speed.readsPerSec), String(speed.latencyUsec)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const remove = cleanUpLater(`slow disk ${folder}`, async () => {
    await unmountBelow(folder);
    rmdirSync(folder);
  });
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`slow-disk: expected to be mounted on ${folder}, found exit status ${String(code)}`);
    }),
  ]);
  const loop = await attachCold(path.join(folder, 'disk'));
  return {
    device: loop.device,
    detach: async () => {
      await loop.detach();
      await remove();
    },
  };
}
