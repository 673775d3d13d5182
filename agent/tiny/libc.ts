import { TinyBuffer } from './buffer.ts';
import { door, type SystemCalls } from './door.ts';
import { codeOf } from './errno.ts';

/** agent/system/libc.ts without a foreign function interface: each function is in the program. */
export function systemCall(name: keyof SystemCalls, ...args: readonly (number | Uint8Array | null)[]): number {
  const result = door.calls[name](...args);
  if (result >= 0) return result;
  const code = codeOf(-result);
  throw Object.assign(new Error(`${code}: ${name} failed`), { code, errno: -result, syscall: name });
}

/** A string as zero-terminated bytes for C. */
export function cString(text: string): TinyBuffer {
  return TinyBuffer.from(`${text}\0`);
}
