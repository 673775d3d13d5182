/**
 * The door to the operating system, which `native/` has. A function that makes a call of the system returns the
 * negative of the error's number where that fails. One that is called wrongly throws.
 */
interface Door {
  /** Fill `into`: dev, ino, mode, size, rdev, mtimeMs, ctimeMs, uid, gid. */
  stat(path: Path, into: Float64Array): number;
  lstat(path: Path, into: Float64Array): number;
  fstat(fd: number, into: Float64Array): number;
  /** Fills `into`: type, bsize, blocks, bfree, bavail, files, ffree. */
  statfs(path: Path, into: Float64Array): number;
  readonly O_DIRECTORY: number;
  readonly O_NOFOLLOW: number;
  open(path: Path, flags: number, mode: number): number;
  close(fd: number): number;
  /** @param position -1: where the file is */
  read(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): number;
  write(fd: number, bytes: Uint8Array, offset: number, length: number): number;
  readAll(fd: number): ArrayBuffer | number;
  fsync(fd: number): number;
  fchmod(fd: number, mode: number): number;
  futimes(fd: number, accessedSec: number, modifiedSec: number): number;
  exists(path: Path): number;
  unlink(path: Path): number;
  rename(from: Path, to: Path): number;
  symlink(target: Path, path: Path): number;
  readlink(path: Path): string | number;
  realpath(path: Path): string | number;
  mkdir(path: Path, mode: number): number;
  rmdir(path: Path): number;
  /** Names; with `types`, names and types in turn. */
  readdir(path: Path, types: boolean, asLatin1: boolean): (string | number)[] | number;

  utf8(bytes: Uint8Array): string;
  latin1(bytes: Uint8Array): string;
  hex(bytes: Uint8Array): string;
  encode(text: string): ArrayBuffer;
  /** How many bytes the text has in UTF-8. */
  size(text: string): number;
  equals(left: Uint8Array, right: Uint8Array): boolean;
  /** Where a text begins in bytes, from a place on; -1 where it is not in them. */
  find(bytes: Uint8Array, text: string, from: number): number;
  /** Whether a text is `sha256:` and 64 hex digits. */
  isDigest(text: string): boolean;
  /** Whether a text is ASCII, and has no name that is empty or begins with a dot. */
  isPlainPath(text: string): boolean;
  /** How many of `[`, `{` and `,` a text has. */
  countStarts(text: string): number;
  parseJson(text: string): unknown;
  sha256Begin(): ArrayBuffer;
  sha256Add(state: ArrayBuffer, content: string | Uint8Array): ArrayBuffer;
  sha256End(state: ArrayBuffer): ArrayBuffer;
  /** Whether a key has signed a message. */
  ed25519(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;

  readonly words: readonly string[];
  readonly pid: number;
  environment(): string[];
  umask(mask: number): number;
  exit(status: number): never;
  isatty(fd: number): boolean;
  /** Becomes another program. EINTR: a signal has come, which is to be obeyed first. */
  exec(path: string, words: readonly string[] | undefined, variable: string | undefined): number;

  /** Starts a program, found in PATH, that ends with us. Of each stream it gets a descriptor; less than 0: nothing. */
  start(words: readonly string[], input: number, output: number, errors: number): number;
  /** -1 while it runs; else its status, or 128 and the signal that has ended it. */
  ended(pid: number): number;
  kill(pid: number, signal: number): number;
  /** Where it is read, without waiting, and where it is written. */
  pipe(): [number, number] | number;
  memoryFile(): number;
  /** Gives memory that is not used back to the kernel. */
  giveBack(): void;

  takeSignal(number: number): number;
  signals(): number[];
  /** @returns the first descriptor that can be read; -1 for none. Less than 0 microseconds are without end. */
  wait(fds: readonly number[], usec: number): number;
  monotonicUsec(): number;
  onTurn(turn: () => boolean): void;

  readonly calls: SystemCalls;
}

type Path = string | Uint8Array;
type Call = (...args: readonly (number | Uint8Array | null)[]) => number;

/** The calls of agent/system/libc.ts. */
export type SystemCalls = Readonly<
  Record<
    | 'mount'
    | 'umount2'
    | 'unshare'
    | 'flock'
    | 'syncfs'
    | 'close'
    | 'alarm'
    | 'socket'
    | 'sendto'
    | 'poll'
    | 'clock_gettime'
    | 'getdirentries64'
    | 'inotify_init1'
    | 'inotify_add_watch'
    | 'connect'
    | 'posix_fadvise'
    | 'sync_file_range'
    | 'chmod'
    | 'chown'
    | 'lgetxattr',
    Call
  >
>;

export const { door } = globalThis as unknown as { readonly door: Door };
