import type { Code } from '../messages/codes.ts';
import { oneLine } from '../text/one-line.ts';

/**
 * A failure that the user is told of, in one line: what was expected, what was found, what to do.
 * Thrown at the place that knows; printed in one place only (main.ts), or turned into a finding by the pipeline.
 */
export class PreloaderError extends Error {
  override readonly name = 'PreloaderError';
  readonly code: Code;

  constructor(code: Code, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Whether a system call has failed: its error number is the code. */
export const isSystemError = (error: unknown): boolean =>
  error instanceof Error &&
  !(error instanceof PreloaderError) &&
  'code' in error &&
  /^E[A-Z0-9]+$/.test(String(error.code));
export const isENOENT = (error: unknown): boolean => hasCode(error, 'ENOENT');
export const isEEXIST = (error: unknown): boolean => hasCode(error, 'EEXIST');
export const isEBUSY = (error: unknown): boolean => hasCode(error, 'EBUSY');
export const isENOTDIR = (error: unknown): boolean => hasCode(error, 'ENOTDIR');
export const isECONNREFUSED = (error: unknown): boolean => hasCode(error, 'ECONNREFUSED');
export const isEWOULDBLOCK = (error: unknown): boolean => hasCode(error, 'EAGAIN');
export const isEACCES = (error: unknown): boolean => hasCode(error, 'EACCES');
export const isELOOP = (error: unknown): boolean => hasCode(error, 'ELOOP');
export const isEINVAL = (error: unknown): boolean => hasCode(error, 'EINVAL');
export const isENAMETOOLONG = (error: unknown): boolean => hasCode(error, 'ENAMETOOLONG');
export const isENOSPC = (error: unknown): boolean => hasCode(error, 'ENOSPC');
export const isEPIPE = (error: unknown): boolean => hasCode(error, 'EPIPE');
export const isENOSYS = (error: unknown): boolean => hasCode(error, 'ENOSYS');

/** The message of anything that was thrown, in one line and without control characters: it may quote what is on a disk. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return oneLine(message.replaceAll(/\s*\n\s*/g, ' '));
}

/** The same with the path of the file that it is about in front, where it does not begin with that already. */
export function messageAt(path: string, error: unknown): string {
  const message = messageOf(error);
  return message.startsWith(path) ? message : `${path}: ${message}`;
}
