import path from 'node:path';
import type { Dockerd } from '../support/dockerd.ts';
import { mountNew } from '../support/filesystem.ts';
import type { Site } from './site.ts';

/**
 * Makes a filesystem for a site's data root, and mounts it there.
 * @returns what does so again, for it goes when a dockerd ends
 */
export function mountOn(
  { dataRoot, folder }: Pick<Site, 'dataRoot' | 'folder'>,
  mkfs: readonly [string, ...string[]],
  sizeMb = 64,
): Promise<() => Promise<void>> {
  return mountNew(path.join(folder, 'data.img'), sizeMb * 1e6, mkfs, dataRoot);
}

/** The storage driver that dockerd has taken. */
export function driverOf(dockerd: Dockerd): Promise<string> {
  return dockerd.cli(['info', '--format', '{{.Driver}}']);
}
