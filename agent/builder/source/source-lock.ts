import * as z from 'zod/mini';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { readUntrusted, replaceFile } from '../../system/files.ts';
import { parseJson } from '../../text/parse-json.ts';
import type { ArchiveArgument } from '../archive/archive-argument.ts';

/** What a source was: what its name led to, and which images were taken. */
export interface TakenSource {
  /** As it was written, without the name that its image gets. */
  readonly source: string;
  /** Of the manifest or index of a registry. */
  readonly digest: string | undefined;
  /** Their IDs, sorted. */
  readonly images: readonly string[];
}

/** A file that says what sources have to be. */
export interface SourceLock {
  readonly path: string;
  /** By source; undefined if the file is to be made. */
  readonly sources: ReadonlyMap<string, TakenSource> | undefined;
}

const VERSION = 1;
const MAX_LOCK_BYTES = 16 * 1024 * 1024;
const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/, 'a sha256 digest'));
const lockSchema = z.object({
  lockVersion: z.literal(VERSION),
  sources: z.array(z.object({ source: z.string(), digest: z.optional(digest), images: z.array(digest) })),
});

/** Reads what sources are held to. Without a file, they are not, and one is to be made. @throws PreloaderError */
export function readLock(path: string): SourceLock {
  try {
    const bytes = readUntrusted(path, MAX_LOCK_BYTES);
    if (bytes === undefined) return { path, sources: undefined };
    const { sources } = parseJson(bytes.toString('utf8'), lockSchema);
    return { path, sources: new Map(sources.map((one) => [one.source, { ...one, digest: one.digest }])) };
  } catch (error) {
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}: expected a file that build --lock wrote, found another: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** An argument by which a registry is asked for what the lock has. @throws PreloaderError if it has something else */
export function lockedArgument(argument: ArchiveArgument, { path, sources }: SourceLock): ArchiveArgument {
  if (sources === undefined) return argument;
  const locked = sources.get(argument.path);
  if (locked === undefined)
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}: expected the source ${argument.path}, found none: remove the file to lock all sources anew`,
    );
  const { source } = argument;
  return source?.kind !== 'registry' || locked.digest === undefined
    ? argument
    : { ...argument, source: { ...source, digest: locked.digest } };
}

/** @throws PreloaderError if a source has other images than the lock says */
export function checkLocked(lock: SourceLock | undefined, taken: readonly TakenSource[]): void {
  if (lock?.sources === undefined) return;
  for (const { source, images } of taken) {
    const expected = lock.sources.get(source)?.images ?? [];
    if (expected.join() !== images.join())
      throw new PreloaderError(
        'BUILD_FAILED',
        `${source}: expected ${expected.join(', ')}, as in ${lock.path}, found ${images.join(', ')}: remove that file to lock all sources anew`,
      );
  }
}

/** Writes down what the sources were, durably. @throws system errors */
export function writeLock({ path }: SourceLock, taken: readonly TakenSource[]): void {
  const sources = [...new Map(taken.map((one) => [one.source, one])).values()].toSorted((a, b) =>
    a.source < b.source ? -1 : 1,
  );
  replaceFile(path, `${JSON.stringify({ lockVersion: VERSION, sources }, undefined, 2)}\n`, {
    mode: 0o644,
    durable: true,
  });
}
