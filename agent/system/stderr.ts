import { writeSync } from 'node:fs';
import { oneLine } from '../text/one-line.ts';
import { withoutCredentials } from '../text/without-credentials.ts';
import { pause } from './clock.ts';
import { environment } from './environment.ts';
import { isEWOULDBLOCK } from './errors.ts';

const STDERR = 2;
const RETRY_MS = 5;
/** How long a reader that hangs can hold us up, if somebody else has made the pipe non-blocking. */
const PATIENCE_MS = 5000;

/** Where progress and notes are written, as far as we look at it. */
export interface Stderr {
  readonly isTTY: boolean;
  /** Whether it is a terminal on which a line can be drawn over. */
  readonly canRedraw: boolean;
  /** The number of cells in a line, where that is known. */
  readonly columns: number | undefined;
  write(text: string): void;
}

/** node:tty takes a millisecond to load, and a boot has nothing to draw. */
const isTerminal = (): boolean => process.getBuiltinModule('node:tty').isatty(STDERR);

/**
 * Standard error. What is written there is never the result, so a write that fails is ignored: a reader that has gone
 * away (`2>&1 | head -1`) or a full disk must not end the work. The stream of the runtime would throw then.
 */
export const stderr: Stderr = {
  get isTTY() {
    return isTerminal();
  },
  get canRedraw() {
    return isTerminal() && environment()['TERM'] !== 'dumb';
  },
  get columns() {
    return isTerminal() ? process.stderr.columns : undefined;
  },
  write(text) {
    const bytes = Buffer.from(text);
    let waitedMs = 0;
    for (let done = 0; done < bytes.length;) {
      try {
        done += writeSync(STDERR, bytes, done);
      } catch (error) {
        if (!isEWOULDBLOCK(error) || waitedMs >= PATIENCE_MS) return;
        pause(RETRY_MS);
        waitedMs += RETRY_MS;
      }
    }
  },
};

/** Writes one line to standard error, without characters that a terminal would obey, and without passwords. */
export function tellLine(text: string): void {
  stderr.write(`${oneLine(withoutCredentials(text))}\n`);
}
