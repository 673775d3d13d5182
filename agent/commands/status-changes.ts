import { after, every } from '../system/clock.ts';
import { hasReader } from '../system/stdout-reader.ts';
import { watchOrPollFolders, type FolderWatch } from '../system/watch-folders.ts';

/** A status is published in several files, and a socket comes a moment after its name. */
const SETTLE_MS = 100;
/** Where the folder cannot be watched: not by this user, or too much is watched already. */
const POLL_MS = 1000;
/** Nothing but a look tells that a pipe has lost its reader: poll(2), which costs next to nothing. */
const READER_MS = 1000;

/**
 * When a status may be another: whoever publishes one replaces files beside the socket, and a daemon that starts makes
 * its socket there. No request is made for that, so a daemon with `idleExitSec` is neither kept nor started again.
 */
export class StatusChanges {
  readonly #folder: string;
  #watch: FolderWatch;

  /** What changes from now on ends the first wait. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#watch = this.#begin();
  }

  #begin(): FolderWatch {
    return watchOrPollFolders([this.#folder], POLL_MS);
  }

  /** A watch would hold the process. */
  close(): void {
    this.#watch.close();
  }

  /**
   * Waits for a change since the last wait, at most so long.
   * @returns whether our output has a reader still; otherwise nothing is watched any more
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
