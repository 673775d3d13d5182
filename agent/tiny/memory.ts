import { delay } from '../system/clock.ts';
import { door } from './door.ts';

/** By then, everything that is needed for waiting is there. */
const RELEASE_AFTER_MS = 500;

/** agent/system/memory.ts: the program is small, so what is released is what it has made. */
export function releaseProgram(): void {
  door.giveBack();
}

export async function releaseProgramSoon(): Promise<void> {
  await delay(RELEASE_AFTER_MS);
  releaseProgram();
}
