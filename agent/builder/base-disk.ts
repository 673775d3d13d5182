import { PreloaderError } from '../system/errors.ts';
import type { BaseDisk } from './store-tree.ts';
import { inspectDisk } from '../verify/inspect-disk.ts';

/**
 * What is on a disk that another one is to build on.
 * @throws PreloaderError if `build` did not make it, because then its content has no digest to refer to it by
 */
export async function readBase(path: string): Promise<BaseDisk> {
  const { label, manifest, layers, problems } = await inspectDisk(path, { deep: false });
  if (label === null)
    throw new PreloaderError('DISK_INVALID', `${path}: expected a disk with its label, found a folder`);
  if (manifest === null)
    throw new PreloaderError(
      'DISK_INVALID',
      `${path}: expected a disk that docker-preloader built, found one without a manifest`,
    );
  const [problem] = problems;
  if (problem !== undefined) throw new PreloaderError('DISK_INVALID', `${path}: ${problem}`);
  return { label, manifest: manifest.digest, layers: layers.map(({ chainId }) => chainId) };
}
