import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { isEEXIST, isEXDEV, isEINVAL, isELOOP, isENOENT, isENOTDIR } from './errors.ts';
import { plural } from '../text/plural.ts';
import { startWriting } from './start-writing.ts';

/** The file's text, or undefined if it does not exist. */
export function readTextIfThere(path: string): string | undefined {
  return readIfThere(path)?.toString('utf8');
}

/** The file's bytes, or undefined if it does not exist. */
export function readIfThere(path: string): Buffer | undefined {
  try {
    // Without O_NONBLOCK, a fifo would be waited for until somebody writes to it.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return undefined;
    // If a file can be opened but not read (a folder, a bad sector), the system's error does not name it.
    throw error instanceof Error && !('path' in error) ? Object.assign(error, { path }) : error;
  }
}

/** The names in a folder, or none if the folder does not exist. */
export function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return [];
    throw error;
  }
}

/** The names of the folders in a folder, without symlinks, or none if the folder does not exist. */
export function foldersIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return [];
    throw error;
  }
}

/** Where a symlink points, or undefined if it does not exist. */
export function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error) || isEINVAL(error)) return undefined;
    throw error;
  }
}

/** Whether the path is a folder itself, and not a symlink to one. */
export function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return false;
    throw error;
  }
}

/** The path itself, or the nearest folder above it that exists. */
export function existingPart(path: string): string {
  return existsSync(path) ? path : existingPart(dirname(path));
}

/**
 * Reads a file that somebody else made. It must be a regular file (not a symlink, fifo or device) and no larger than
 * the limit.
 * @returns undefined if it does not exist
 * @throws Error naming the path, what was expected and what was found
 */
export function readUntrusted(path: string | Buffer, limitBytes: number): Buffer | undefined {
  return readRegular(path, limitBytes, constants.O_NOFOLLOW);
}

/** The same for a configuration that the administrator made: it may be a symlink. */
export function readConfiguration(path: string): Buffer | undefined {
  return readRegular(path, MAX_CONFIGURATION_BYTES, 0);
}

/** Some thousand times what people write. */
const MAX_CONFIGURATION_BYTES = 1024 * 1024;

function readRegular(path: string | Buffer, limitBytes: number, flags: number): Buffer | undefined {
  const name = String(path);
  let fd: number;
  try {
    // O_NONBLOCK, because opening a fifo must not wait for its other end.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | flags);
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return undefined;
    if (isELOOP(error) && flags !== 0)
      throw new Error(`${name}: expected a regular file, found a symlink`, { cause: error });
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile())
      throw new Error(
        `${name}: expected a regular file, found ${flags === 0 && stats.isDirectory() ? 'a folder' : 'something else'}`,
      );
    if (stats.size > limitBytes) throw new Error(`${name}: expected at most ${limitBytes} bytes, found ${stats.size}`);
    const buffer = Buffer.allocUnsafe(stats.size);
    const length = readPiece(fd, buffer, 0);
    if (length < buffer.length)
      throw new Error(`${name}: expected ${plural(buffer.length, 'byte')}, found only ${length}`);
    return buffer;
  } finally {
    closeSync(fd);
  }
}

export const PIECE_BYTES = 256 * 1024;

/** Fills the piece as far as the file reaches. @returns the number of bytes */
export function readPiece(fd: number, piece: Buffer, offset: number): number {
  let length = 0;
  while (length < piece.length) {
    const count = readSync(fd, piece, length, piece.length - length, offset + length);
    if (count === 0) break;
    length += count;
  }
  return length;
}

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

/**
 * Reads a file or a pipe to its end. @param file a path, or a descriptor
 * @throws Error if there are more bytes than the limit, and system errors
 */
export function readToLimit(file: string | number, limitBytes: number): Buffer {
  const fd = typeof file === 'number' ? file : openSync(file, constants.O_RDONLY);
  const pieces: Buffer[] = [];
  try {
    for (let total = 0; ;) {
      const piece = Buffer.allocUnsafe(PIECE_BYTES);
      const count = readSync(fd, piece, 0, piece.length, null);
      if (count === 0) return Buffer.concat(pieces);
      total += count;
      if (total > limitBytes) throw new Error(`expected at most ${limitBytes} bytes, found more`);
      pieces.push(piece.subarray(0, count));
    }
  } finally {
    if (typeof file !== 'number') closeSync(fd);
  }
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
