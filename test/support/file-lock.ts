import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Runs `work` while holding a lock on `file`, waiting for it as long as it takes.
 *
 * Node has no flock(2), so flock(1) holds it in a child that lives as long as the pipe to its standard input:
 * the kernel releases the lock whenever this process ends, however it ends, so there are no stale locks.
 * @param file is made where it does not exist, and stays
 * @param mode several may hold it `shared`, while nobody holds it `exclusive`
 */
export async function withFileLock<T>(
  file: string,
  work: () => Promise<T>,
  mode: 'exclusive' | 'shared' = 'exclusive',
): Promise<T> {
  // A process group of its own: Ctrl-C must not release the lock before the work has stopped.
  const holder = spawn('flock', [`--${mode}`, '--no-fork', file, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const ended = once(holder, 'exit');
  const held = await Promise.race([once(holder.stdout, 'data').then(() => true), ended.then(() => false)]);
  if (!held) throw new Error(`Expected flock(1) to lock ${file}, but it exited with ${String(holder.exitCode)}`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
