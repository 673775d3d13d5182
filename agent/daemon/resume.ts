import { takeStart } from './handed-start.ts';
import { serve } from './run-after-ready.ts';

/**
 * Goes on as the daemon of another process, which was READY and has become this one.
 * @param path what it has left
 */
export async function resume(path: string): Promise<void> {
  // The mounts stay, so that Docker can go on.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
  const { start, status, isPublished, lived } = takeStart(path);
  const newest = lived?.found ?? status;
  await serve(start, status, isPublished ? `${JSON.stringify(newest)}\n` : undefined, lived);
}
