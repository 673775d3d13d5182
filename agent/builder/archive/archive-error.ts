import { PreloaderError, reasonOf, shownPath } from '../../system/errors.ts';

/** Something wrong with an archive: which one, which entry if known, what was expected, what was found. */
export function archiveError(archive: string, message: string, cause?: unknown): PreloaderError {
  return new PreloaderError('ARCHIVE_INVALID', `${shownPath(archive)}: ${message}`, { cause });
}

/** An archive without images. @param found what it holds instead, if known */
export function noImages(archive: string, found = 'found neither'): PreloaderError {
  const expected = "expected the entry 'manifest.json' of docker save, or 'index.json' of an OCI layout";
  return archiveError(archive, `${expected}, ${found}`);
}

/**
 * Runs `action` and puts the archive's name before the message of whatever it throws, unless the name is already there.
 */
export async function withArchiveName<Result>(archive: string, action: () => Promise<Result>): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    throw archiveError(archive, reasonOf(error), error);
  }
}
