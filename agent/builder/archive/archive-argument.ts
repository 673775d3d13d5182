import { existsSync } from 'node:fs';
import { repositoryOf, tagOf } from '../../docker/reference.ts';
import { PreloaderError } from '../../system/errors.ts';
import { listNames, plural } from '../../text/plural.ts';
import { nameStart, parseImageSource, type ImageSource } from './image-source.ts';
import { familiarReference } from './image-name.ts';
import type { InputImage } from './input-image.ts';

/** What commands/program.ts makes of `-=NAME:TAG`, which would look like an option. */
const STDIN_PATH = '/dev/stdin';

/** Archives that skopeo knows as well, as it names them. They are read here, without it. */
const SKOPEO_ARCHIVE = /^(?:oci|oci-archive|docker-archive):(?=.)/;

const OTHER_ADDRESS = /^[a-z][a-z0-9+.-]*:\/\//i;

/**
 * An archive on the command line: `ARCHIVE`, `ARCHIVE:IMAGE`, or a source that skopeo knows, and each of them with
 * `=NAME:TAG` or `=NAME`.
 */
export interface ArchiveArgument {
  /** A file, a folder, `-`, or a source as it was written. */
  readonly path: string;
  /** What another program is asked for; undefined for a file or folder. */
  readonly source: ImageSource | undefined;
  /** Which one of several images is meant: its tag or name in the archive, as skopeo and umoci write it. */
  readonly image: string | undefined;
  /** What the image is to be called. Without a tag, it keeps the tags that it has. */
  readonly name: { readonly repository: string; readonly tag: string | undefined } | undefined;
}

/**
 * A file whose own name contains a `=` or `:` is taken as that file. Only if no file has the whole name is the part
 * after the last `=` a name, and the part after a `:` an image.
 * @throws Error if the archive exists but the name is not valid
 */
export function parseArchiveArgument(text: string): ArchiveArgument {
  const sourceEnd = nameStart(text);
  const sourceText = sourceEnd === -1 ? text : text.slice(0, sourceEnd);
  const source = existsSync(text) ? undefined : parseImageSource(sourceText);
  if (source !== undefined) {
    const name = sourceEnd === -1 ? undefined : parseName(text.slice(sourceEnd + 1));
    return { path: sourceText, source, image: undefined, name };
  }
  // Not quoted, because there may be a password in it.
  if (!existsSync(text) && OTHER_ADDRESS.test(text))
    throw new Error('expected a file, or an image of a registry as in docker://HOST/NAME:TAG, found another address');
  const at = text.lastIndexOf('=');
  const place = placeOf(text.slice(0, at));
  if (at === -1 || existsSync(text) || place === undefined) {
    const whole = placeOf(text);
    if (whole === undefined && SKOPEO_ARCHIVE.test(text)) return parseArchiveArgument(text.replace(SKOPEO_ARCHIVE, ''));
    return { path: text, source: undefined, image: undefined, ...whole, name: undefined };
  }
  return { ...place, source: undefined, name: parseName(text.slice(at + 1)) };
}

function parseName(name: string): ArchiveArgument['name'] {
  const reference = familiarReference(name);
  const hasTag = name.includes(':', name.lastIndexOf('/') + 1);
  return { repository: repositoryOf(reference), tag: hasTag ? tagOf(reference) : undefined };
}

/** The part of the name that exists: all of it, or a folder or file before a colon. */
function placeOf(text: string): Pick<ArchiveArgument, 'path' | 'image'> | undefined {
  for (let at = text.length; at !== -1; at = at === text.length ? text.indexOf(':') : text.indexOf(':', at + 1)) {
    const path = text.slice(0, at);
    const image = at === text.length ? undefined : text.slice(at + 1);
    if (path === '-' || path === STDIN_PATH) return { path: '-', image };
    if (existsSync(path)) return { path, image };
  }
  return undefined;
}

/** The images of an archive that are meant. @throws PreloaderError if none has that name */
export function selectImages({ path, image }: ArchiveArgument, images: readonly InputImage[]): readonly InputImage[] {
  if (image === undefined) return images;
  const found = images.filter((one) => [...namesOf(one), ...one.writtenNames].includes(image));
  if (found.length > 0) return found;
  // skopeo completes a name: `app` is `docker.io/library/app:latest`.
  const whole = images.filter(({ references }) => references.some((one) => one === completed(image)));
  if (whole.length > 0) return whole;
  const there = listNames(images.flatMap(namesOf));
  throw new PreloaderError(
    'BUILD_FAILED',
    `${path}:${image}: expected an image with this tag or name in ${path}, found ${there || 'none that has one'}`,
  );
}

function completed(name: string): string | undefined {
  try {
    return familiarReference(name);
  } catch {
    return undefined;
  }
}

/** The names in a layout that can be typed as they are (OCI image spec, annotations.md, allows the same characters). */
const OCI_NAME = /^[\w.:@/+-]+$/;

function namesOf({ references, bareTags, writtenNames }: InputImage): readonly string[] {
  return references.length + bareTags.length === 0
    ? writtenNames.filter((name) => OCI_NAME.test(name))
    : [...references, ...bareTags];
}

/**
 * The images of an archive under the name that the user gives them.
 * @throws PreloaderError if one name would be for several
 */
export function nameImages({ path, name }: ArchiveArgument, images: readonly InputImage[]): readonly InputImage[] {
  if (name === undefined) return images;
  const { repository, tag } = name;
  const count = new Set(images.map(({ id }) => id)).size;
  if (tag !== undefined && count > 1) {
    const advice = images.every((image) => tagsOf(image).length > 0)
      ? `${path}=${repository} keeps their tags, ${path}:IMAGE=${repository}:${tag} names one`
      : 'save each in an archive of its own';
    const found = listNames(images.map((image) => namesOf(image)[0] ?? image.id));
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}=${repository}:${tag}: expected an archive of one image, ` +
        `found ${plural(count, 'image')} (${found}): ${advice}`,
    );
  }
  return images.map((image) => {
    const tags = tag === undefined ? tagsOf(image) : [tag];
    return {
      ...image,
      askedByDigest: undefined,
      references: (tags.length === 0 ? ['latest'] : tags).map((one) => `${repository}:${one}`),
    };
  });
}

function tagsOf({ references, bareTags }: InputImage): string[] {
  return [...references.flatMap((reference) => tagOf(reference) ?? []), ...bareTags];
}

/** What to type to name the images of an archive that have no name on the disk, a line for each. */
export function namingAdvice(
  { path }: ArchiveArgument,
  images: readonly InputImage[],
  nameless: ReadonlySet<string>,
): string[] {
  const count = new Set(images.map(({ id }) => id)).size;
  const where = path === '-' ? 'standard input' : path;
  return images
    .filter(({ id }) => nameless.has(id))
    .map(({ id, bareTags: [tag], writtenNames: [written] }) => {
      const lacks = `${id} of ${where} has no name on the disk`;
      if (tag !== undefined) {
        const named = count === 1 ? `${path}=NAME:TAG` : `${path}:${tag}=NAME:TAG`;
        return `${lacks}, only the tag '${tag}': build ${named} names it, ${path}=NAME calls it NAME:${tag}`;
      }
      if (written !== undefined && OCI_NAME.test(written)) {
        const named = count === 1 ? `${path}=NAME:TAG` : `${path}:${written}=NAME:TAG`;
        return `${lacks}, '${written}' is not a valid one for Docker: build ${named} names it`;
      }
      if (count === 1) return `${lacks}: give it one, with build ${path}=NAME:TAG`;
      return `${lacks}: save it under a name, or in an archive of its own and build that as ARCHIVE=NAME:TAG`;
    });
}
