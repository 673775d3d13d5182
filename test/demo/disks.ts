import path from 'node:path';
import { agentCommand } from '../support/agent.ts';
import type { DemoImage } from './images.ts';
import { run } from './transcript.ts';

/**
 * Makes a preload disk of one image with `docker-preloader build`, and shows what is on it.
 * @param format the disk's: raw for a loop device, qcow2 for a virtual machine
 * @param more of the arguments of `build`
 * @returns the disk
 */
export async function makeDisk(
  folder: string,
  image: DemoImage,
  label: string,
  format: 'raw' | 'qcow2',
  ...more: readonly string[]
): Promise<string> {
  const [command, ...before] = agentCommand();
  const disk = path.join(folder, `${image.name}.${format}`);
  await run(
    [command, ...before, 'build', image.archive, '-o', disk, '--format', format, '--label', label, ...more, '--quiet'],
    { what: 'building the disk' },
  );
  await run([command, ...before, 'inspect', disk]);
  return disk;
}
