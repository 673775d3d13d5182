import {
  MAX_HELD_BYTES,
  MAX_IMAGES,
  MAX_MANIFEST_BYTES,
  MAX_REFERENCES,
  MAX_REPOSITORIES_BYTES,
  MAX_SOURCES_BYTES,
  MAX_TAR_SPLIT_BYTES,
} from '../disk/limits.ts';
import type { Collection } from './collect.ts';

/**
 * Makes sure that nothing is put on a disk that exceeds the agent's limits, because the agent would leave it out.
 * @throws Error
 */
export function checkLimits({ images, references }: Pick<Collection, 'images' | 'references'>): void {
  check('images', images.length, MAX_IMAGES);
  check('names of images', references.size, MAX_REFERENCES);
  check(
    'bytes of image configurations',
    images.reduce((sum, { config }) => sum + config.length, 0),
    MAX_HELD_BYTES,
  );
}

/** The same for the manifest. @throws Error */
export function checkManifest(text: string): void {
  check('bytes of manifest', Buffer.byteLength(text), MAX_MANIFEST_BYTES);
}

/** The same for repositories.json. @throws Error */
export function checkRepositories(text: string): void {
  check('bytes of repositories.json', Buffer.byteLength(text), MAX_REPOSITORIES_BYTES);
}

/** The same for a layer's tar-split. @throws Error */
export function checkTarSplitSize(bytes: number): void {
  if (bytes > MAX_TAR_SPLIT_BYTES)
    throw new Error(
      `expected a tar-split of at most ${MAX_TAR_SPLIT_BYTES} bytes, found one of ${bytes}: split this layer into several`,
    );
}

/**
 * Whether a layer's list of registries is within the agent's limit. Without that list, a pull only fetches the layer
 * again.
 */
export function isListOfSources(text: string): boolean {
  return Buffer.byteLength(text) <= MAX_SOURCES_BYTES;
}

function check(what: string, found: number, limit: number): void {
  if (found > limit)
    throw new Error(`expected at most ${limit} ${what} on a disk, found ${found}: spread them over several disks`);
}
