import type { Code } from '../messages/codes.ts';
import { oneLine } from '../text/one-line.ts';

/**
 * A failure that is reported to the user in one line: what was expected, what was found, what to do. It is thrown where
 * the cause is known, and printed in one place only (main.ts) or turned into a finding by the pipeline.
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

/** Whether a system call has failed: then the error's code is the name of an error number. */
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

/**
 * The message of anything that was thrown, in one line and without control characters, because it may quote the content
 * of a disk.
 */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return oneLine(message.replaceAll(/\s*\n\s*/g, ' '));
}

/** The same with the path of the file before it, unless it already begins with the path. */
export function messageAt(path: string, error: unknown): string {
  const message = messageOf(error);
  return message.startsWith(path) ? message : `${path}: ${message}`;
}
