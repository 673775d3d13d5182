import { TinyBuffer } from './buffer.ts';
import { startChild } from './children.ts';
import { after } from '../system/clock.ts';
import { door } from './door.ts';
import { systemError } from './errno.ts';
import { closeSync } from './fs.ts';
import { whenReadable } from './loop.ts';

const SIGTERM = 15;
const EAGAIN = 11;
const MAX_BYTES = 1024 * 1024;

/** agent/system/child-process.ts, as far as the small engine starts programs. What they say of errors is lost. @throws Error */
export async function commandOutput(file: string, args: readonly string[], timeoutMs: number): Promise<string> {
  const ends = door.pipe();
  if (typeof ends === 'number') throw systemError(-ends, 'pipe');
  const [from, into] = ends;
  const child = startAndClose([file, ...args], into, from);
  const cancel = after(timeoutMs, () => door.kill(child.pid, SIGTERM));
  try {
    const output = await readAll(from);
    const status = await child.ended;
    if (status !== 0) throw new Error(`Command failed: ${[file, ...args].join(' ')}`);
    return output;
  } finally {
    cancel();
    closeSync(from);
  }
}

function startAndClose(words: readonly string[], into: number, from: number): ReturnType<typeof startChild> {
  try {
    return startChild(words, [-1, into, -1]);
  } catch (error) {
    closeSync(from);
    throw error;
  } finally {
    closeSync(into);
  }
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
