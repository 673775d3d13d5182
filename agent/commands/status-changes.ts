import { after, every } from '../system/clock.ts';
import type { FolderWatch } from '../system/folder-watch.ts';
import { hasReader } from '../system/stdout-reader.ts';
import { watchOrPollFolders } from '../system/watch-or-poll-folders.ts';

/** A status is published in several files, and a socket works a moment after its name appears. */
const SETTLE_MS = 100;
/** How often to look if the folder cannot be watched: this user may not, or the limit of watches is reached. */
const POLL_MS = 1000;
/**
 * How often to check with poll(2) that a pipe still has a reader. No event reports that, and poll costs next to
 * nothing.
 */
const READER_MS = 1000;

/**
 * Notices when the status may have changed: whoever publishes one replaces files beside the socket, and a daemon that
 * starts makes its socket there. It makes no request, so a daemon with `idleExitSec` is neither kept alive nor started
 * again.
 */
export class StatusChanges {
  readonly #folder: string;
  #watch: FolderWatch;

  /** Changes from now on end the first wait. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#watch = this.#begin();
  }

  #begin(): FolderWatch {
    return watchOrPollFolders([this.#folder], POLL_MS);
  }

  /** Ends the watch, which would keep the process alive. */
  close(): void {
    this.#watch.close();
  }

  /**
   * Waits for a change since the last wait, but no longer than the limit.
   * @returns whether our output still has a reader; if not, nothing is watched any more
   */
  async next(limitMs: number): Promise<boolean> {
    const timers: (() => void)[] = [];
    const wait = (milliseconds: number): Promise<boolean> =>
      new Promise((resolve) => void timers.push(after(milliseconds, () => resolve(true))));
    const lost = new Promise<boolean>((resolve) => {
      if (!process.stdout.isTTY) timers.push(every(READER_MS, () => hasReader() || resolve(false)));
    });
    const changed = this.#watch.changed.then(() => wait(SETTLE_MS));
    const isRead = await Promise.race([changed, lost, ...(Number.isFinite(limitMs) ? [wait(limitMs)] : [])]);
    for (const cancel of timers) cancel();
    this.close();
    if (!isRead || !hasReader()) return false;
    this.#watch = this.#begin();
    return true;
  }
}
