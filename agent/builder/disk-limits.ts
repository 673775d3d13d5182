import { MAX_MANIFEST_BYTES } from '../disk/manifest.ts';
import { MAX_HELD_BYTES, MAX_IMAGES, MAX_REFERENCES } from '../disk/reader.ts';
import type { Collection } from './collect.ts';

/** Nothing is put on a disk that the agent would leave out, for it reads disks with limits. @throws Error */
export function checkLimits({ images, references }: Pick<Collection, 'images' | 'references'>): void {
  check('images', images.length, MAX_IMAGES);
  check('names of images', references.size, MAX_REFERENCES);
  check('bytes of image configurations', images.reduce((sum, { config }) => sum + config.length, 0), MAX_HELD_BYTES);
}

/** The same for the manifest, once it is there. @throws Error */
export function checkManifest(text: string): void {
  check('bytes of manifest', Buffer.byteLength(text), MAX_MANIFEST_BYTES);
}

function check(what: string, found: number, limit: number): void {
  if (found > limit) throw new Error(`at most ${limit} ${what} on a disk expected, found ${found}: make several disks of them`);
}
