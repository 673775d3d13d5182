import { delay } from '../system/clock.ts';
import { door } from './door.ts';

/** By then, everything that is needed for waiting is loaded. */
const RELEASE_AFTER_MS = 500;

/** agent/system/memory.ts. The program itself is small, so memory that it does not use is released instead. */
export function releaseProgram(): void {
  door.giveBack();
}

export async function releaseProgramSoon(): Promise<void> {
  await delay(RELEASE_AFTER_MS);
  releaseProgram();
}
