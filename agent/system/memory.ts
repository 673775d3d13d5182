import { realpathSync } from 'node:fs';
import { delay } from './clock.ts';
import { readTextIfThere } from './files.ts';
import { systemCall } from './libc.ts';

const MADV_DONTNEED = 4;
/** By then all is loaded that waiting needs. */
const RELEASE_AFTER_MS = 500;
/** A segment of a program: addresses, rights, place in the file, device, inode, path (proc_pid_maps(5)). */
const SEGMENT = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+ +(.*)$/;

/**
 * Lets go of the program's own code and constants, most of which only starting needs. They stay in the page cache, where
 * the kernel can drop them as it cannot as long as we have them mapped; what is called again comes back by itself.
 * Only what was never written to: in a segment that was, what was written would be lost.
 */
export function releaseProgram(): void {
  const program = realpathSync('/proc/self/exe');
  for (const line of (readTextIfThere('/proc/self/maps') ?? '').split('\n')) {
    const [, start = '', end = '', rights, offset = '', path] = SEGMENT.exec(line) ?? [];
    if (path !== program) continue;
    // Constants that the loader has relocated are read-only by now, too, but do not stand at the beginning.
    if (rights === 'r-xp' || (rights === 'r--p' && Number.parseInt(offset, 16) === 0)) {
      const address = Number.parseInt(start, 16);
      systemCall('madvise', address, Number.parseInt(end, 16) - address, MADV_DONTNEED);
    }
  }
}

/** The same in a moment, for who has just begun to wait. */
export async function releaseProgramSoon(): Promise<void> {
  await delay(RELEASE_AFTER_MS);
  releaseProgram();
}
