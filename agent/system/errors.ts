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
export const isEXDEV = (error: unknown): boolean => hasCode(error, 'EXDEV');
export const isEEXIST = (error: unknown): boolean => hasCode(error, 'EEXIST');
export const isEBUSY = (error: unknown): boolean => hasCode(error, 'EBUSY');
export const isENODEV = (error: unknown): boolean => hasCode(error, 'ENODEV');
export const isENOTDIR = (error: unknown): boolean => hasCode(error, 'ENOTDIR');
export const isECONNREFUSED = (error: unknown): boolean => hasCode(error, 'ECONNREFUSED');
export const isEWOULDBLOCK = (error: unknown): boolean => hasCode(error, 'EAGAIN');
export const isEACCES = (error: unknown): boolean => hasCode(error, 'EACCES');
export const isELOOP = (error: unknown): boolean => hasCode(error, 'ELOOP');
export const isEINVAL = (error: unknown): boolean => hasCode(error, 'EINVAL');
export const isENAMETOOLONG = (error: unknown): boolean => hasCode(error, 'ENAMETOOLONG');
export const isENOSPC = (error: unknown): boolean => hasCode(error, 'ENOSPC');
export const isEDQUOT = (error: unknown): boolean => hasCode(error, 'EDQUOT');
export const isEFBIG = (error: unknown): boolean => hasCode(error, 'EFBIG');
export const isEPIPE = (error: unknown): boolean => hasCode(error, 'EPIPE');
export const isENOSYS = (error: unknown): boolean => hasCode(error, 'ENOSYS');

/** What the errors of errno(3) that people meet mean to them. All others are told as the system tells them. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  ECONNREFUSED: 'nobody listens there',
  EDQUOT: 'no space left in the quota',
  EEXIST: 'it is there already',
  EFBIG: 'larger than a file may be there (the filesystem, or ulimit -f)',
  EISDIR: 'it is a folder',
  ELOOP: 'symlinks that lead in a circle',
  ENAMETOOLONG: 'a name that is too long',
  ENOENT: 'no such file or folder',
  ENOSPC: 'no space left',
  ENOTDIR: 'a part of the path is no folder',
  EPERM: 'not permitted',
  EROFS: 'the filesystem is read-only',
};

/**
 * What node:fs and node:net make of a failed call: `CODE: text, call 'path'`, and `call CODE path`. A message that
 * would be longer than the runtime has them ends within the path.
 */
const RAW = /^(?:(E[A-Z0-9]+): ([^,]*), \w+(?: '.*)?|\w+ (E[A-Z0-9]+) .*)$/s;

/** Why a call failed, in words and without the path; undefined if it is no such error, or has a message of ours. */
function rawReason(error: unknown): string | undefined {
  if (!(error instanceof Error) || !isSystemError(error)) return undefined;
  const raw = RAW.exec(error.message);
  const code = raw?.[1] ?? raw?.[3] ?? '';
  return raw === null ? undefined : (reasons[code] ?? `${raw[2] ?? 'failed'} (${code})`);
}

/** The same for a message that names the path itself. For all else, it is the message. */
export function reasonOf(error: unknown): string {
  return rawReason(error) ?? messageOf(error);
}

/**
 * The message of anything that was thrown, in one line and without control characters, because it may quote the content
 * of a disk. Errors of the system are told in words, behind the path that they are about.
 */
export function messageOf(error: unknown): string {
  const reason = rawReason(error);
  const message = reason === undefined ? (error instanceof Error ? error.message : String(error)) : reason;
  return oneLine(`${reason === undefined ? '' : pathIn(error)}${message.replaceAll(/\s*\n\s*/g, ' ')}`);
}

function pathIn(error: unknown): string {
  const { path, dest } = error as { readonly path?: unknown; readonly dest?: unknown };
  if (typeof path !== 'string') return '';
  return typeof dest === 'string' ? `${path} to ${dest}: ` : `${path}: `;
}

/** The same with the path of the file before it, unless it already begins with the path. */
export function messageAt(path: string, error: unknown): string {
  const message = messageOf(error);
  const name = oneLine(path);
  return message.startsWith(name) ? message : `${name}: ${message}`;
}

/** A path as it stands in a message. An empty one would not be seen. */
export function shownPath(path: string): string {
  return path === '' ? "''" : path;
}

/** What is found where no file is. */
export function noSuchFile(path: string): string {
  // The runtime decodes arguments, and bytes that are not UTF-8 are lost.
  const hint = path.includes('\uFFFD') ? ' (a name that is not UTF-8 cannot be given: make a link to it)' : '';
  return `no such file${hint}`;
}
