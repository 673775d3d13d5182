// What the boot path takes for granted, and what the small engine has of it. tsc looks at this in the place of Node's
// own declarations (test/tiny/engine-types.test.ts), so that what the engine has not does not compile.
import type { TinyAbortController } from './abort.ts';
import type { TinyBuffer } from './buffer.ts';
import type { TinyTextDecoder } from './text-decoder.ts';
import type { process as tinyProcess } from './process.ts';

declare global {
  type Buffer = TinyBuffer;
  var Buffer: typeof TinyBuffer;
  var process: typeof tinyProcess;
  var AbortController: typeof TinyAbortController;
  type AbortSignal = TinyAbortController['signal'];
  var TextDecoder: typeof TinyTextDecoder;
  var performance: { now(): number };
  function setTimeout(act: (value: void) => void, milliseconds?: number): number;
  function setInterval(act: () => void, milliseconds?: number): number;
  function clearTimeout(timer: number | undefined): void;
  function clearInterval(timer: number | undefined): void;
  namespace NodeJS {
    interface ErrnoException extends Error {
      code?: string;
    }
  }
}
