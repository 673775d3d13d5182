import { createRequire } from 'node:module';
import { constants } from 'node:os';

/**
 * System calls that neither Node nor Bun offers: mount(2), umount2(2), flock(2), syncfs(2), unix datagrams, alarm(2),
 * poll(2), posix_fadvise(2), sync_file_range(2), cachestat(2), getdents64(2), lgetxattr(2) and the monotonic clock.
 * They are called through the foreign function interface of the runtime: `bun:ffi` in the executable, koffi under Node.
 * A call takes 0.3 ms; spawning mount(8) instead would take 10 ms.
 */
interface Libc {
  call(name: keyof typeof signatures, ...args: readonly Argument[]): number;
  errno(): number;
}

type Argument = number | Buffer | null;
type Type = 'int' | 'unsigned long' | 'pointer';

const signatures = {
  mount: ['pointer', 'pointer', 'pointer', 'unsigned long', 'pointer'],
  umount2: ['pointer', 'int'],
  unshare: ['int'],
  lgetxattr: ['pointer', 'pointer', 'pointer', 'unsigned long'],
  flock: ['int', 'int'],
  syncfs: ['int'],
  socket: ['int', 'int', 'int'],
  sendto: ['int', 'pointer', 'unsigned long', 'int', 'pointer', 'int'],
  close: ['int'],
  alarm: ['int'],
  poll: ['pointer', 'unsigned long', 'int'],
  madvise: ['unsigned long', 'unsigned long', 'int'],
  getdirentries64: ['int', 'pointer', 'unsigned long', 'pointer'],
  posix_fadvise: ['int', 'unsigned long', 'unsigned long', 'int'],
  sync_file_range: ['int', 'unsigned long', 'unsigned long', 'int'],
  /** For calls with four arguments for which libc has no function. */
  syscall: ['unsigned long', 'int', 'pointer', 'pointer', 'int'],
  clock_gettime: ['int', 'pointer'],
  getpagesize: [],
} as const satisfies Record<string, readonly Type[]>;

let loaded: Libc | undefined;

function libc(): Libc {
  loaded ??= 'bun' in process.versions ? bunLibc() : koffiLibc();
  return loaded;
}

/** The part of `bun:ffi` that we use. Its types are not installed, because the sources also run under Node. */
interface BunFfi {
  dlopen(
    file: string,
    symbols: Record<string, { args: string[]; returns: string }>,
  ): { symbols: Record<string, (...args: readonly Argument[]) => number> };
  read: { i32(pointer: number, offset: number): number };
}

function bunLibc(): Libc {
  const names: Record<Type, string> = { int: 'i32', 'unsigned long': 'u64', pointer: 'ptr' };
  const ffi = createRequire(import.meta.url)('bun:ffi') as BunFfi;
  const { symbols } = ffi.dlopen('libc.so.6', {
    ...Object.fromEntries(
      Object.entries(signatures).map(([name, types]) => [
        name,
        { args: types.map((type) => names[type]), returns: 'i32' },
      ]),
    ),
    __errno_location: { args: [], returns: 'ptr' },
  });
  return {
    call: (name, ...args) => symbols[name]?.(...args) ?? -1,
    errno: () => ffi.read.i32(symbols['__errno_location']?.() ?? 0, 0),
  };
}

/** The part of koffi that we use. */
interface Koffi {
  load(file: string): {
    func(name: string, result: string, parameters: string[]): (...args: readonly Argument[]) => number;
  };
  errno(): number;
}

function koffiLibc(): Libc {
  const names: Record<Type, string> = { int: 'int', 'unsigned long': 'unsigned long', pointer: 'void *' };
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const library = koffi.load('libc.so.6');
  const functions = new Map<string, (...args: readonly Argument[]) => number>();
  const bind = (name: keyof typeof signatures): ((...args: readonly Argument[]) => number) => {
    const bound =
      functions.get(name) ??
      library.func(
        name,
        'int',
        signatures[name].map((type) => names[type]),
      );
    functions.set(name, bound);
    return bound;
  };
  return { call: (name, ...args) => bind(name)(...args), errno: () => koffi.errno() };
}

const errorNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
// EAGAIN and EWOULDBLOCK are the same number on Linux, which Node reports as EAGAIN.
errorNames.set(constants.errno.EAGAIN, 'EAGAIN');

/**
 * Calls a function of libc and returns its result.
 * @throws an Error with `code` (such as `EBUSY`) and `syscall`, like those of node:fs, if it returns -1
 */
export function systemCall(name: keyof typeof signatures, ...args: readonly Argument[]): number {
  const result = libc().call(name, ...args);
  if (result !== -1) return result;
  const errno = libc().errno();
  const code = errorNames.get(errno) ?? `errno ${errno}`;
  throw Object.assign(new Error(`${code}: ${name} failed`), { code, errno, syscall: name });
}

/** A string as zero-terminated bytes for C. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
