import { TinyBuffer } from './buffer.ts';
import { door } from './door.ts';
import { checked, systemError } from './errno.ts';
import { dirname } from './path.ts';

/** node:fs on Linux, as far as the boot path uses it. Two of them are other numbers on arm64. */
export const constants = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_TRUNC: 0o1000,
  O_NONBLOCK: 0o4000,
  O_DIRECTORY: door.O_DIRECTORY,
  O_NOFOLLOW: door.O_NOFOLLOW,
} as const;

type Path = string | TinyBuffer;

const TYPE = 0o170000;
const kinds = { folder: 0o040000, file: 0o100000, blockDevice: 0o060000 } as const;
/** Of a folder's entry (getdents64(2), DT_DIR, DT_LNK). */
const entryTypes = { folder: 4, link: 10 } as const;

const numbers = new Float64Array(9);

/** What stat(2) has told last, as far as it is asked for. */
export class Stats {
  readonly dev = numbers[0] ?? 0;
  readonly ino = numbers[1] ?? 0;
  readonly mode = numbers[2] ?? 0;
  readonly size = numbers[3] ?? 0;
  readonly rdev = numbers[4] ?? 0;
  readonly mtimeMs = numbers[5] ?? 0;
  readonly ctimeMs = numbers[6] ?? 0;
  readonly uid = numbers[7] ?? 0;
  readonly gid = numbers[8] ?? 0;

  isDirectory(): boolean {
    return (this.mode & TYPE) === kinds.folder;
  }

  isFile(): boolean {
    return (this.mode & TYPE) === kinds.file;
  }

  isBlockDevice(): boolean {
    return (this.mode & TYPE) === kinds.blockDevice;
  }
}

interface Missing {
  readonly throwIfNoEntry: false;
}

const ENOENT = -2;
const EEXIST = -17;

export function statSync(path: Path): Stats;
export function statSync(path: Path, options: Missing): Stats | undefined;
export function statSync(path: Path, options?: Missing): Stats | undefined {
  return found(door.stat(path, numbers), 'stat', path, options);
}

export function lstatSync(path: Path): Stats;
export function lstatSync(path: Path, options: Missing): Stats | undefined;
export function lstatSync(path: Path, options?: Missing): Stats | undefined {
  return found(door.lstat(path, numbers), 'lstat', path, options);
}

function found(result: number, call: string, path: Path, options: Missing | undefined): Stats | undefined {
  if (options !== undefined && result === ENOENT) return undefined;
  checked(result, call, path);
  return new Stats();
}

export function fstatSync(fd: number): Stats {
  checked(door.fstat(fd, numbers), 'fstat');
  return new Stats();
}

export function statfsSync(path: string): Record<'type' | 'bsize' | 'blocks' | 'bfree' | 'files' | 'ffree', number> {
  checked(door.statfs(path, numbers), 'statfs', path);
  const [type = 0, bsize = 0, blocks = 0, bfree = 0, , files = 0, ffree = 0] = numbers;
  return { type, bsize, blocks, bfree, files, ffree };
}

export function existsSync(path: string): boolean {
  return !path.includes('\0') && door.exists(path) === 0;
}

/** @param flags numbers of `constants`, or `r` */
export function openSync(path: Path, flags: number | 'r', mode = 0o666): number {
  return checked(door.open(path, flags === 'r' ? constants.O_RDONLY : flags, mode), 'open', path);
}

export function closeSync(fd: number): void {
  checked(door.close(fd), 'close');
}

/** @param position null: where the file is */
export function readSync(
  fd: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: number | null,
): number {
  return checked(door.read(fd, bytes, offset, length, position ?? -1), 'read');
}

/** Writes what is behind `offset`, or the beginning of that. */
export function writeSync(fd: number, bytes: Uint8Array, offset: number): number {
  return checked(door.write(fd, bytes, offset, bytes.length - offset), 'write');
}

export function readFileSync(file: string | number): TinyBuffer;
export function readFileSync(file: string | number, encoding: 'utf8' | 'latin1'): string;
export function readFileSync(file: string | number, encoding?: 'utf8' | 'latin1'): TinyBuffer | string {
  const fd = typeof file === 'number' ? file : openSync(file, constants.O_RDONLY);
  try {
    const content = door.readAll(fd);
    if (typeof content === 'number') throw systemError(-content, 'read');
    const bytes = new TinyBuffer(content);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  } finally {
    if (typeof file !== 'number') closeSync(fd);
  }
}

interface Entry {
  readonly name: string;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

interface Reading {
  readonly encoding?: 'latin1';
}

export function readdirSync(path: Path, options?: Reading): string[];
export function readdirSync(path: Path, options: Reading & { readonly withFileTypes: true }): Entry[];
export function readdirSync(path: Path, options: Reading & { readonly withFileTypes?: true } = {}): (string | Entry)[] {
  const types = options.withFileTypes === true;
  const list = door.readdir(path, types, options.encoding === 'latin1');
  if (typeof list === 'number') throw systemError(-list, 'scandir', path);
  if (!types) return list.map(String);
  const entries: Entry[] = [];
  for (let at = 0; at < list.length; at += 2) {
    const [name, type] = [String(list[at]), list[at + 1]];
    entries.push({
      name,
      isDirectory: () => type === entryTypes.folder,
      isSymbolicLink: () => type === entryTypes.link,
    });
  }
  return entries;
}

export function readlinkSync(path: string): string {
  return textOf(door.readlink(path), 'readlink', path);
}

export function realpathSync(path: string): string {
  return textOf(door.realpath(path), 'realpath', path);
}

realpathSync.native = realpathSync;

function textOf(result: string | number, call: string, path: string): string {
  if (typeof result === 'number') throw systemError(-result, call, path);
  return result;
}

export function fsyncSync(fd: number): void {
  checked(door.fsync(fd), 'fsync');
}

export function fchmodSync(fd: number, mode: number): void {
  checked(door.fchmod(fd, mode), 'fchmod');
}

export function futimesSync(fd: number, accessedSec: number, modifiedSec: number): void {
  checked(door.futimes(fd, accessedSec, modifiedSec), 'futime');
}

export function chmodSync(path: string, mode: number): void {
  checked(door.calls.chmod(TinyBuffer.from(`${path}\0`), mode), 'chmod', path);
}

export function chownSync(path: string, user: number, group: number): void {
  checked(door.calls.chown(TinyBuffer.from(`${path}\0`), user, group), 'chown', path);
}

export function renameSync(from: string, to: string): void {
  checked(door.rename(from, to), 'rename', from, to);
}

export function symlinkSync(target: string, path: string): void {
  checked(door.symlink(target, path), 'symlink', target, path);
}

export function unlinkSync(path: string): void {
  checked(door.unlink(path), 'unlink', path);
}

export function rmdirSync(path: string): void {
  checked(door.rmdir(path), 'rmdir', path);
}

export function mkdirSync(path: string, options: { readonly recursive?: true; readonly mode?: number } = {}): void {
  const { recursive = false, mode = 0o777 } = options;
  const result = door.mkdir(path, mode);
  if (!recursive) return void checked(result, 'mkdir', path);
  if (result !== ENOENT || dirname(path) === path) return folderIsThere(result, path);
  mkdirSync(dirname(path), { recursive, mode });
  folderIsThere(door.mkdir(path, mode), path);
}

/** Of a folder that is to be there, that it is there already is no error, unless it is something else. */
function folderIsThere(result: number, path: string): void {
  if (result !== EEXIST || !isFolder(path)) checked(result, 'mkdir', path);
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** @param options force: that it is not there is no error */
export function rmSync(path: string, options: { readonly recursive?: true; readonly force?: true }): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) {
    if (options.force !== true) throw systemError(-ENOENT, 'lstat', path);
    return;
  }
  if (!stats.isDirectory()) return removeUnless(door.unlink(path), 'unlink', path, options);
  if (options.recursive !== true)
    throw Object.assign(new Error(`Path is a directory: rm returned EISDIR (is a directory) ${path}`), {
      code: 'ERR_FS_EISDIR',
    });
  for (const name of readdirSync(path)) rmSync(`${path}/${name}`, options);
  removeUnless(door.rmdir(path), 'rmdir', path, options);
}

/** Somebody else may have removed it meanwhile. */
function removeUnless(result: number, call: string, path: string, options: { readonly force?: true }): void {
  if (options.force !== true || result !== ENOENT) checked(result, call, path);
}
