import { realpathSync } from 'node:fs';
import { delay } from './clock.ts';
import { readTextIfThere } from './read-files.ts';
import { systemCall } from './libc.ts';

const MADV_DONTNEED = 4;
/** By then, everything that is needed for waiting is loaded. */
const RELEASE_AFTER_MS = 500;
/** A segment of a program: addresses, permissions, offset in the file, device, inode, path (proc_pid_maps(5)). */
const SEGMENT = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+ +(.*)$/;

/**
 * Releases the program's own code and constants, most of which are needed only to start. They stay in the page cache,
 * where the kernel can drop them, which it cannot while we have them mapped. Code that is called again comes back by
 * itself. Only segments that were never written to are released, because otherwise what was written would be lost.
 */
export function releaseProgram(): void {
  const program = realpathSync('/proc/self/exe');
  for (const line of (readTextIfThere('/proc/self/maps') ?? '').split('\n')) {
    const [, start = '', end = '', rights, offset = '', path] = SEGMENT.exec(line) ?? [];
    if (path !== program) continue;
    // Constants that the loader has relocated are also read-only by now, but they are not at the beginning of the file.
    if (rights === 'r-xp' || (rights === 'r--p' && Number.parseInt(offset, 16) === 0)) {
      const address = Number.parseInt(start, 16);
      systemCall('madvise', address, Number.parseInt(end, 16) - address, MADV_DONTNEED);
    }
  }
}

/** The same in a moment, for a process that has just begun to wait. */
export async function releaseProgramSoon(): Promise<void> {
  await delay(RELEASE_AFTER_MS);
  releaseProgram();
}
