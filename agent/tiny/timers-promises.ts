import { soon } from './loop.ts';

/** node:timers/promises. All that is ready is done before the promise resolves. */
export function setImmediate(): Promise<void> {
  return new Promise(soon);
}
