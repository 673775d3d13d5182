import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  futimesSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { isEEXIST, isEXDEV, isENOENT } from './errors.ts';
import { linkTarget } from './read-files.ts';
import { startWriting } from './start-writing.ts';

/** Writes everything at the file's current position. */
export function writeAll(fd: number, content: string | Buffer): void {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  for (let offset = 0; offset < bytes.length;) offset += writeSync(fd, bytes, offset);
}

/**
 * Writes a file into a folder that nobody uses yet, so that nothing has to be replaced atomically. The process's umask
 * applies to the mode.
 * @throws system errors, EEXIST if the file exists
 */
export function writeNewFile(path: string, content: string, mode: number): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  try {
    if (content !== '') writeAll(fd, content);
  } finally {
    closeSync(fd);
  }
}

/** Makes a folder. @returns whether it is new @throws system errors, also if its parent is missing */
export function makeFolder(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    if (!isEEXIST(error)) throw error;
    return false;
  }
}

/**
 * Replaces a file so that at any moment, even after a power cut, it has either the old or the new content completely:
 * temporary file, fsync, rename, fsync of the folder. Without `durable` there is no fsync, which is for content that
 * can be derived again. `content` leaves out the second one: after a power cut, the file may have the old content.
 */
export function replaceFile(
  path: string,
  content: string | Buffer,
  options: {
    readonly mode: number;
    readonly durable: boolean | 'content';
    readonly tempPath?: string;
    /** What is to be done before it is in place. Where that waits for the disk, too, both are waited for together. */
    readonly before?: (() => void) | undefined;
    /** The time of modification that it gets, in seconds since 1970. */ readonly modifiedSec?: number;
  },
): void {
  const temp = options.tempPath ?? tempPathOf(path);
  writeTemp(temp, content, options);
  moveTemp(temp, path);
  if (options.durable === true) syncFolder(dirname(path));
}

/**
 * Writes a file whole, durably, that `moveInPlace` is to move where it belongs. As long as it is here, that was not
 * done.
 * @throws system errors
 */
export function prepareFile(path: string, content: string, mode: number): void {
  writeTemp(path, content, { mode, durable: true });
}

/**
 * Puts the content of a prepared file where it belongs, durably: by moving it, or on another filesystem by a copy,
 * beside which it stays.
 * @throws system errors; the prepared file is then still there
 */
export function moveInPlace(prepared: string, path: string, mode: number): void {
  try {
    renameSync(prepared, path);
  } catch (error) {
    if (!isEXDEV(error)) throw error;
    replaceFile(path, readFileSync(prepared), { mode, durable: true });
    return;
  }
  syncFolder(dirname(path));
}

/** What is to replace a file, while that is being written. */
export function tempPathOf(path: string): string {
  return `${path}.docker-preloader`;
}

function writeTemp(
  temp: string,
  content: string | Buffer,
  options: {
    readonly mode: number;
    readonly durable: boolean | 'content';
    readonly before?: (() => void) | undefined;
    readonly modifiedSec?: number;
  },
): void {
  const fd = openSync(
    temp,
    constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW,
    options.mode,
  );
  try {
    writeAll(fd, content);
    fchmodSync(fd, options.mode);
    if (options.modifiedSec !== undefined) futimesSync(fd, options.modifiedSec, options.modifiedSec);
    if (options.before !== undefined) {
      if (options.durable !== false) startWriting(fd);
      options.before();
    }
    if (options.durable !== false) fsyncSync(fd);
  } catch (error) {
    closeSync(fd);
    throw withoutTemp(temp, error);
  }
  closeSync(fd);
}

/** Gives a temporary file its name. If that fails, the file is removed. @throws system errors */
export function moveTemp(temp: string, path: string): void {
  try {
    renameSync(temp, path);
  } catch (error) {
    throw withoutTemp(temp, error);
  }
}

/**
 * Removes a temporary file and returns the error of the step that made it. If the file cannot be removed either, the
 * next run removes it.
 */
export function withoutTemp(temp: string, error: unknown): unknown {
  try {
    rmSync(temp, { recursive: true, force: true });
  } catch {
    // The first error is the one to report.
  }
  return error;
}

/** Makes the names in a folder durable. */
export function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes a symlink, or replaces one atomically. */
export function replaceLink(path: string, target: string): void {
  try {
    symlinkSync(target, path);
    return;
  } catch (error) {
    if (!isEEXIST(error)) throw error;
  }
  if (linkTarget(path) === target) return;
  const temp = `${path}.docker-preloader`;
  rmSync(temp, { force: true });
  symlinkSync(target, temp);
  moveTemp(temp, path);
}

/** Makes a folder with its parents. An existing folder stays as it is. */
export function ensureFolder(path: string, mode: number): void {
  mkdirSync(path, { recursive: true, mode });
}

export function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isENOENT(error)) throw error;
  }
}
