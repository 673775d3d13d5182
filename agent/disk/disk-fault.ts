import { PreloaderError } from '../system/errors.ts';
import type { Code } from '../messages/codes.ts';

/** A disk that turned out to be bad only when something of it was copied: it costs itself, and not the run. */
export class DiskFault extends PreloaderError {
  readonly label: string;

  constructor(label: string, code: Code, message: string, options?: { readonly cause?: unknown }) {
    super(code, message, options);
    this.label = label;
  }
}

/** What is wrong with a file of a pinned disk. @param expected of the manifest; undefined where it does not list the file */
export function contentFault(path: string, expected: string | undefined, found: string | undefined): string {
  if (expected === undefined) return `${path}: expected a file that the manifest lists, found one that it does not`;
  return `${path}: expected content with digest ${expected}, as the manifest has it, found ${found ?? 'no such file'}`;
}
