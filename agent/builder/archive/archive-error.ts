import { PreloaderError, messageOf } from '../../system/errors.ts';

/** A fault of an archive: which one, which entry of it where known, what was expected and found. */
export function archiveError(archive: string, message: string, cause?: unknown): PreloaderError {
  return new PreloaderError('ARCHIVE_INVALID', `${archive}: ${message}`, { cause });
}

/** An archive that is none of images. @param found what there is instead, where that is known */
export function noImages(archive: string, found = 'found neither'): PreloaderError {
  const expected = "expected the entry 'manifest.json' of docker save, or 'index.json' of an OCI layout";
  return archiveError(archive, `${expected}, ${found}`);
}

/** Runs `action`; what it throws is told with the archive's name before it, unless it is told already. */
export async function withArchiveName<Result>(archive: string, action: () => Promise<Result>): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    throw archiveError(archive, messageOf(error), error);
  }
}
