import { existsSync } from 'node:fs';
import { noSuchFile, PreloaderError, shownPath } from '../../system/errors.ts';
import { readConfiguration } from '../../system/read-files.ts';

/**
 * The sources in a list: one a line, written as on the command line. Lines that begin with `#` are comments, and so is
 * what follows a `#` behind a space, unless a file has that name.
 * @throws PreloaderError if there is no such file, or nothing in it
 */
export function readSourceList(path: string): string[] {
  const bytes = readConfiguration(path);
  if (bytes === undefined)
    throw new PreloaderError(
      'BUILD_FAILED',
      `${shownPath(path)}: expected a list of sources, found ${noSuchFile(path)}`,
    );
  const text = bytes.toString('utf8');
  if (text.includes('\0'))
    throw new PreloaderError('BUILD_FAILED', `${path}: expected a list of sources, found no text`);
  const sources = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => (existsSync(line) ? line : line.replace(/\s+#.*$/, '')));
  if (sources.length === 0)
    throw new PreloaderError('BUILD_FAILED', `${path}: expected at least one source, one a line, found none`);
  return sources;
}
