import { TinyBuffer } from './buffer.ts';
import { startChild, type Child } from './children.ts';
import { after, every } from '../system/clock.ts';
import { door } from './door.ts';
import { checked, systemError } from './errno.ts';
import { closeSync, readSync } from './fs.ts';
import { whenReadable } from './loop.ts';

const SIGTERM = 15;
const HOUR_MS = 3_600_000;
const EAGAIN = 11;
const MAX_BYTES = 1024 * 1024;
const MAX_ERROR_BYTES = 4096;
/** The exit status of a program that could not be started. */
const NOT_STARTED = 127;

/** agent/system/child-process.ts, as far as the small engine starts programs. @throws Error */
export async function commandOutput(file: string, args: readonly string[], timeoutMs: number): Promise<string> {
  const errors = checked(door.memoryFile(), 'memfd_create');
  try {
    const { output, status } = await run([file, ...args], errors, timeoutMs);
    if (status === NOT_STARTED) throw Object.assign(new Error(`spawn ${file} ENOENT`), { code: 'ENOENT' });
    if (status !== 0) throw new Error(`Command failed: ${[file, ...args].join(' ')}\n${beginningOf(errors)}`);
    return output;
  } finally {
    closeSync(errors);
  }
}

/** The same file's, which ends with us. */
export async function runBeside(program: string, args: readonly string[]): Promise<number> {
  const child = startChild([program, ...args], [-1, 1, 2]);
  // To wait for a signal alone does not keep this process from its end.
  const stop = every(HOUR_MS, () => undefined);
  try {
    return await child.ended;
  } finally {
    stop();
  }
}

async function run(
  words: readonly string[],
  errors: number,
  timeoutMs: number,
): Promise<{ readonly output: string; readonly status: number }> {
  const ends = door.pipe();
  if (typeof ends === 'number') throw systemError(-ends, 'pipe');
  const [from, into] = ends;
  try {
    const child = startAndClose(words, into, errors);
    const cancel = after(timeoutMs, () => door.kill(child.pid, SIGTERM));
    try {
      return { output: await readAll(from), status: await child.ended };
    } finally {
      cancel();
    }
  } finally {
    closeSync(from);
  }
}

function startAndClose(words: readonly string[], into: number, errors: number): Child {
  try {
    return startChild(words, [-1, into, errors]);
  } finally {
    closeSync(into);
  }
}

function beginningOf(file: number): string {
  const bytes = TinyBuffer.alloc(MAX_ERROR_BYTES);
  return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0));
}

/** What comes until the end. @throws Error if it is too much */
function readAll(fd: number): Promise<string> {
  const parts: TinyBuffer[] = [];
  const piece = TinyBuffer.alloc(16 * 1024);
  let left = MAX_BYTES;
  return new Promise((resolve, reject) => {
    const stop = whenReadable(fd, () => {
      const count = door.read(fd, piece, 0, piece.length, -1);
      if (count === -EAGAIN) return;
      if (count > 0 && count <= left) {
        left -= count;
        parts.push(TinyBuffer.from(piece.subarray(0, count)));
        return;
      }
      stop();
      if (count === 0) resolve(TinyBuffer.concat(parts).toString());
      else
        reject(
          count < 0
            ? systemError(-count, 'read')
            : new Error(`expected at most ${MAX_BYTES} bytes of output, found more`),
        );
    });
  });
}
