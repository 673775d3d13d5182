import { setTimeout as delay } from 'node:timers/promises';

/** Waits for something that no event tells of. @returns after how many milliseconds */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<number> {
  const start = performance.now();
  while (!(await isSo())) {
    if (performance.now() - start > limitMs) throw new Error(`expected ${what} within ${limitMs / 1000} s`);
    await delay(50);
  }
  return performance.now() - start;
}
