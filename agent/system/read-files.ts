import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { isEINVAL, isELOOP, isENOENT, isENOTDIR } from './errors.ts';
import { plural } from '../text/plural.ts';

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
  return readRegular(path, limitBytes, false);
}

/** The same for a configuration that the administrator made: it may be a symlink. */
export function readConfiguration(path: string): Buffer | undefined {
  return readRegular(path, MAX_CONFIGURATION_BYTES, true);
}

/** Some thousand times what people write. */
const MAX_CONFIGURATION_BYTES = 1024 * 1024;

function readRegular(path: string | Buffer, limitBytes: number, mayBeLink: boolean): Buffer | undefined {
  const name = String(path);
  let fd: number;
  try {
    // O_NONBLOCK, because opening a fifo must not wait for its other end.
    fd = mayBeLink
      ? openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      : openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    if (isENOENT(error) || isENOTDIR(error)) return undefined;
    if (isELOOP(error) && !mayBeLink)
      throw new Error(`${name}: expected a regular file, found a symlink`, { cause: error });
    throw error;
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile())
      throw new Error(
        `${name}: expected a regular file, found ${mayBeLink && stats.isDirectory() ? 'a folder' : 'something else'}`,
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
