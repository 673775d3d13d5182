import { statSync } from 'node:fs';
import { PreloaderError, shownPath } from '../system/errors.ts';
import { openArchive } from './archive/open-archive.ts';
import { nameImages, namingAdvice, selectImages, type ArchiveArgument } from './archive/archive-argument.ts';
import type { SourceFetcher } from './source/fetch-sources.ts';
import { archiveFacts, lockedName, type TakenSource } from './source/source-lock.ts';
import type { BuildOptions } from './disk-options.ts';
import type { InputImage } from './archive/input-image.ts';
import { isInput } from './inputs.ts';
import { identityOf } from './archive/member-archive.ts';
import { TO_STDOUT, type Workplace } from './workplace.ts';
import { describePlatform } from './archive/platform.ts';
import type { Progress } from '../text/progress.ts';
import { readImages } from './archive/read-images.ts';

/**
 * The images of all archives, under the names that they are to have.
 * @param fetcher gets what is not here
 * @returns also what the user may not have intended, and what each source was
 */
export async function readAll(
  options: BuildOptions,
  workplace: Workplace,
  fetcher: SourceFetcher,
  progress: Progress,
): Promise<{
  readonly images: readonly InputImage[];
  readonly notes: readonly string[];
  readonly taken: readonly TakenSource[];
}> {
  const notes: string[] = [];
  const taken: TakenSource[] = [];
  const fetched = await fetcher.fetch();
  const read: { readonly argument: ArchiveArgument; readonly images: readonly InputImage[] }[] = [];
  for (const [index, argument] of options.archives.entries()) {
    const { source } = argument;
    const here = source === undefined ? undefined : fetched.get(argument.path);
    if (source === undefined)
      progress.step(`reading ${argument.path === '-' ? 'standard input' : shownPath(argument.path)}`);
    const archive = here?.archive ?? (await openArchive(argument.path, () => workplace.path(`archive-${index}`)));
    const content = await readImages(archive, options.choice);
    const { leftOut } = content;
    const images =
      source?.kind === 'registry' && source.tag === undefined
        ? content.images.map((image) => ({ ...image, askedByDigest: source.repository }))
        : content.images;
    notes.push(
      ...leftOut.map(
        (what) => `${archive.name}: ${what} is left out: the disk is for ${describePlatform(options.choice.platform)}`,
      ),
    );
    const selected = selectImages(argument, images);
    const ids = [...new Set<string>(selected.map(({ id }) => id))].sort();
    const archiveHas = source?.kind === 'registry' ? undefined : archiveFacts(selected);
    taken.push({ source: lockedName(argument), digest: here?.digest, images: ids, archive: archiveHas });
    read.push({ argument, images: nameImages(argument, selected) });
  }
  const images = withTag(
    read.flatMap(({ images: some }) => some),
    options.tag,
  );
  const named = new Set(
    images.flatMap(({ id, references, askedByDigest }) =>
      references.length > 0 || askedByDigest !== undefined ? id : [],
    ),
  );
  const nameless = new Set(images.flatMap(({ id }) => (named.has(id) ? [] : id)));
  return {
    images,
    taken,
    notes: [...notes, ...read.flatMap(({ argument, images: some }) => namingAdvice(argument, some, nameless))],
  };
}

function withTag(images: readonly InputImage[], tag: string | undefined): readonly InputImage[] {
  if (tag === undefined) return images;
  const nameless = images.filter(({ references }) => references.length === 0);
  const [only] = nameless;
  const count = new Set(nameless.map(({ id }) => id)).size;
  if (only === undefined || count > 1) {
    throw new PreloaderError(
      'BUILD_FAILED',
      `--tag ${tag}: expected one image without a name, found ${count}: ARCHIVE=NAME:TAG names that of one archive`,
    );
  }
  return images.map((image) => (image.id === only.id ? { ...image, references: [...image.references, tag] } : image));
}

/**
 * Refuses an output that is a file of an archive in a folder. Which files are used is known only after reading it: an
 * older disk that happens to be in the folder is not an input.
 * @throws PreloaderError
 */
export function refuseArchiveAsOutput(output: string | undefined, images: readonly InputImage[]): void {
  if (output === undefined || output === TO_STDOUT) return;
  const there = statSync(output, { throwIfNoEntry: false });
  if (there === undefined) return;
  for (const { archive, sources } of images) {
    for (const { entry } of sources) if (archive.has(entry)) archive.sizeOf(entry);
    if (archive.readFrom(identityOf(there))) throw isInput(output, `a file of the archive ${archive.name}`);
  }
}
