import { TinyAbortController } from './abort.ts';
import { TinyBuffer } from './buffer.ts';
import { door } from './door.ts';
import { cancel, schedule } from './loop.ts';
import { process } from './process.ts';
import { TinyTextDecoder } from './text-decoder.ts';

/** What sources take for granted: that of Node, and what of the engine's own is otherwise. Loaded before all else. */
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

// Where the stack ends, the engine throws an error of its own kind.
const { InternalError } = globalThis as unknown as { readonly InternalError: ErrorConstructor };
Object.setPrototypeOf(InternalError.prototype, RangeError.prototype);
