import { PreloaderError } from '../system/errors.ts';
import type { Code } from '../messages/codes.ts';

/** A disk proved bad only when something was copied from it. The run leaves the disk out, and goes on. */
export class DiskFault extends PreloaderError {
  readonly label: string;

  constructor(label: string, code: Code, message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options);
    this.label = label;
  }
}

/**
 * Says what is wrong with a file of a pinned disk.
 * @param expected the manifest's digest; undefined if it does not list
 * the file
 */
export function contentFault(path: string, expected: string | undefined, found: string | undefined): string {
  if (expected === undefined) return `${path}: expected a file that the manifest lists, found one that it does not`;
  return `${path}: expected content with digest ${expected}, as the manifest has it, found ${found ?? 'no such file'}`;
}
