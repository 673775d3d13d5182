import { existsSync } from 'node:fs';
import path from 'node:path';
import { commandOutputSync } from '../system/child-process.ts';
import { environment } from '../system/environment.ts';
import { PreloaderError, messageOf } from '../system/errors.ts';

/** 2000-01-01, for sources that nobody tells the time of. */
const NO_TIME = '946684800';
/** Of 32 bits, as gzip, squashfs and others have them: in the year 2106. */
const LAST_SECOND = 0xffff_ffff;

/**
 * The time of all files in the archives: SOURCE_DATE_EPOCH (reproducible-builds.org), or else the time of the last
 * commit, or else, for an unpacked source archive, 2000-01-01.
 * @param root the repository
 * @throws PreloaderError BUILD_FAILED
 */
export function sourceDate(root: string): Date {
  const epoch = environment()['SOURCE_DATE_EPOCH'] ?? lastCommit(root) ?? NO_TIME;
  const seconds = Number(epoch);
  if (!/^\d+$/.test(epoch) || seconds > LAST_SECOND)
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected SOURCE_DATE_EPOCH to be seconds since 1970, from 0 to ${LAST_SECOND}, found '${epoch}'`,
    );
  return new Date(seconds * 1000);
}

/**
 * The same for a release. apt takes no repository from the future, and ignores one that is older than what it has seen,
 * without a word: so the time must be a real one.
 * @param nowMs the time of day
 * @throws PreloaderError BUILD_FAILED
 */
export function releaseDate(root: string, nowMs: number): Date {
  const date = sourceDate(root);
  if (date.getTime() > nowMs)
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected SOURCE_DATE_EPOCH or the last commit to be in the past, found ${date.toISOString()}: apt takes no repository from the future`,
    );
  if (environment()['SOURCE_DATE_EPOCH'] === undefined && !existsSync(path.join(root, '.git')))
    throw new PreloaderError(
      'BUILD_FAILED',
      'expected the time of a release, by SOURCE_DATE_EPOCH or by a last commit, found neither: SOURCE_DATE_EPOCH=$(date +%s) npm run release …',
    );
  return date;
}

/**
 * @returns undefined where these are an unpacked source archive, also where that lies in a repository of something else
 */
function lastCommit(root: string): string | undefined {
  if (!existsSync(path.join(root, '.git'))) return undefined;
  try {
    return commandOutputSync('git', ['log', '-1', '--format=%ct'], { cwd: root }).trim();
  } catch (error) {
    // Of a clone that is another user's, git tells nothing.
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected git to tell the time of the last commit, found that it does not: set SOURCE_DATE_EPOCH (${messageOf(error)})`,
      { cause: error },
    );
  }
}
