import { megabytes } from './megabytes.ts';
import { oneLine } from './one-line.ts';

/** Reports how far a build has come. */
export interface Progress {
  /** Begins a stretch of which it is known how much will be read: what is fetched, then what is unpacked. */
  expect(totalBytes: number): void;
  step(text: string): void;
  read(bytes: number): void;
  end(): void;
}

/** What it is written to: standard error, of which errors are ignored (system/stderr.ts). */
interface Destination {
  /** Whether it is a terminal on which a line can be drawn over. */
  readonly canRedraw: boolean;
  readonly columns: number | undefined;
  write(text: string): unknown;
}

const REDRAW_MS = 200;

/**
 * On a terminal, one line that is updated with the rate and the remaining time. Elsewhere, and on a terminal that
 * cannot do that, a plain line for each step.
 */
export function makeProgress(stream: Destination, quiet: boolean, nowMs: () => number): Progress {
  let total = 0;
  let done = 0;
  let step = '';
  let drawn = 0;
  let start = nowMs();
  const live = stream.canRedraw && !quiet;
  const draw = (): void => {
    drawn = nowMs();
    const seconds = (drawn - start) / 1000;
    const rate = done / Math.max(seconds, 0.001);
    const rest = total > 0 && done > 0 ? `, ${Math.ceil((total - done) / rate)} s left` : '';
    const share =
      total > 0 ? `${Math.floor((100 * done) / total)} % of ${megabytes(total)}, ${megabytes(rate)}/s${rest}: ` : '';
    stream.write(`\r\u001b[K${`${share}${step}`.slice(0, Math.max((stream.columns ?? 80) - 1, 20))}`);
  };
  return {
    expect: (totalBytes) => {
      total = totalBytes;
      done = 0;
      start = nowMs();
    },
    step: (text) => {
      step = oneLine(text);
      if (live) draw();
      else if (!quiet) stream.write(`${step}\n`);
    },
    read: (bytes) => {
      done += bytes;
      if (live && nowMs() - drawn >= REDRAW_MS) draw();
    },
    end: () => {
      if (live) stream.write('\r\u001b[K');
    },
  };
}
