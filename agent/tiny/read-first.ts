import { PAGE_BYTES, willNeed } from '../system/will-need.ts';
import { firstReads } from './first-reads.ts';
import { closeSync, fstatSync, openSync } from './fs.ts';
import { rangesOf } from './page-ranges.ts';

/** One call reads at most the device's read_ahead_kb, 128 by default (mm/readahead.c, force_page_cache_ra). */
const CALL_PAGES = 32;

/** Whether first-reads.ts is of the whole program that this one becomes, from the build. */
declare const HAS_FIRST_READS: boolean;

/**
 * Has the kernel read what the whole program touches, and does not wait for it. By itself, the kernel would read what
 * lies around each page that is missed, one after the other: most of 116 MB, with as much read ahead as Linux 6.17
 * does.
 * @param program its path. Where that cannot be read, nothing is done: who starts it tells of that.
 */
export function readFirst(program: string): void {
  if (!HAS_FIRST_READS) return;
  try {
    const file = openSync(program, 'r');
    try {
      const end = Math.ceil(fstatSync(file).size / PAGE_BYTES);
      for (const { first, count } of rangesOf(firstReads, end))
        for (let done = 0; done < count; done += CALL_PAGES)
          willNeed(file, (first + done) * PAGE_BYTES, Math.min(count - done, CALL_PAGES) * PAGE_BYTES);
    } finally {
      closeSync(file);
    }
  } catch {
    // It starts later.
  }
}
