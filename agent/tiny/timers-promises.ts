import { soon } from './loop.ts';

/** node:timers/promises. What is ready by then is done before it resolves. */
export function setImmediate(): Promise<void> {
  return new Promise(soon);
}
