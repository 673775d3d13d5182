import { TinyAbortController } from './abort.ts';
import { TinyBuffer } from './buffer.ts';
import { door } from './door.ts';
import { cancel, schedule } from './loop.ts';
import { process } from './process.ts';
import { TinyTextDecoder } from './text-decoder.ts';

/**
 * The globals that sources take for granted: those of Node, and those that the engine has in another way. Loaded first.
 */
Object.assign(globalThis, {
  Buffer: TinyBuffer,
  process,
  AbortController: TinyAbortController,
  TextDecoder: TinyTextDecoder,
  performance: { now: () => door.monotonicUsec() / 1000 },
  setTimeout: (act: () => void, milliseconds = 1) => schedule(act, milliseconds, false),
  setInterval: (act: () => void, milliseconds = 1) => schedule(act, milliseconds, true),
  clearTimeout: cancel,
  clearInterval: cancel,
});

// The engine's own takes what is no JSON.
JSON.parse = (text: string): unknown => door.parseJson(text);

// At the end of the stack, the engine throws an error of its own kind.
const { InternalError } = globalThis as unknown as { readonly InternalError: ErrorConstructor };
Object.setPrototypeOf(InternalError.prototype, RangeError.prototype);
