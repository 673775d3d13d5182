import type { DiskImage } from '../../disk/read-disk.ts';
import type { ImageTarget } from '../../disk/image-targets.ts';
import { isDigest } from '../../docker/ids.ts';
import { repositoryOf } from '../../docker/reference.ts';
import { PreloaderError } from '../../system/errors.ts';
import { plural } from '../../text/plural.ts';
import { familiarReference } from '../archive/image-name.ts';
import type { ExportedDisk } from './exported-disk.ts';

/** An image of a disk, and what it is called. */
export interface FoundImage {
  readonly image: DiskImage;
  readonly target: ImageTarget;
  /** The tags that the archive has it under. */
  readonly references: readonly string[];
}

/** How many names are told if one is not found. */
const TOLD_NAMES = 10;
/** As `docker images` shows it. */
const ID = /^(?:sha256:)?[0-9a-f]{12,64}$/;

/**
 * Finds an image by its name, by the digest of its manifest (`app@sha256:…`), or by its ID or the first twelve digits
 * of that. By name, it keeps that name alone.
 * @throws PreloaderError if there is none, or several
 */
export function findImage(
  disk: Pick<ExportedDisk, 'path' | 'images' | 'references' | 'targets'>,
  name: string,
): FoundImage {
  // As dockerd looks for it: a name may look like an ID (moby, daemon/images/image.go, GetImage).
  const named = byName(disk, name);
  const found = named.length === 0 && ID.test(name) ? byID(disk, name) : named;
  const [first, ...more] = found;
  if (first !== undefined && more.length === 0) return first;
  const names = [...disk.references.keys()].filter((reference) => !reference.includes('@')).toSorted();
  const told = names.length === 0 ? 'images without names' : names.slice(0, TOLD_NAMES).join(', ');
  const rest = names.length > TOLD_NAMES ? `, and ${names.length - TOLD_NAMES} more` : '';
  throw new PreloaderError(
    'DISK_INVALID',
    first === undefined
      ? `${disk.path}: expected the image '${name}', found ${disk.images.size === 0 ? 'no images' : `${told}${rest}`}`
      : `${disk.path}: expected one image '${name}', found ${plural(found.length, 'image')}: name more digits`,
  );
}

function byName(
  { images, references, targets }: Pick<ExportedDisk, 'images' | 'references' | 'targets'>,
  name: string,
): FoundImage[] {
  const at = name.indexOf('@');
  const digest = name.slice(at + 1);
  const isByDigest = at !== -1 && isDigest(digest);
  // A tag beside a digest counts for nothing, as with dockerd.
  const reference = isByDigest ? `${repositoryOf(familiar(name.slice(0, at)))}@${digest}` : familiar(name);
  const id = references.get(reference);
  const image = id === undefined ? undefined : images.get(id);
  if (image === undefined) return [];
  const own = targets.filter((target) => target.image === image.id);
  const target = isByDigest
    ? own.find(({ manifests }) => manifests.some(({ descriptor }) => descriptor.digest === digest))
    : (own.find(({ references: tags }) => tags.includes(reference)) ?? own[0]);
  if (target === undefined) return [];
  return [{ image, target, references: isByDigest ? target.references : [reference] }];
}

function byID({ images, targets }: Pick<ExportedDisk, 'images' | 'targets'>, name: string): FoundImage[] {
  const start = name.startsWith('sha256:') ? name : `sha256:${name}`;
  const ofImages = [...images.values()].filter(({ id }) => id.startsWith(start));
  const all =
    ofImages.length > 0
      ? ofImages.flatMap(({ id }) => targets.find(({ image }) => image === id) ?? [])
      : targets.filter(({ target }) => target.digest.startsWith(start));
  return all.flatMap((target) => {
    const image = images.get(target.image);
    return image === undefined ? [] : [{ image, target, references: target.references }];
  });
}

function familiar(name: string): string {
  try {
    return familiarReference(name);
  } catch {
    return name;
  }
}
