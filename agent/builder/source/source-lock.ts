import * as z from 'zod/mini';
import { messageOf, PreloaderError, reasonOf } from '../../system/errors.ts';
import { readUntrusted } from '../../system/read-files.ts';
import { replaceFile, tempPathOf } from '../../system/write-files.ts';
import { parseJson } from '../../text/parse-json.ts';
import type { ArchiveArgument } from '../archive/archive-argument.ts';
import type { InputImage } from '../archive/input-image.ts';

/** What a source was: what its name led to, and which images were taken. */
export interface TakenSource {
  /** As it was written, without the name that its image gets: the archive, which image of it, or what a registry is asked for. */
  readonly source: string;
  /** Of the manifest or index of a registry. */
  readonly digest: string | undefined;
  /** Their IDs, sorted. */
  readonly images: readonly string[];
  /** What else an archive decides of the disk; undefined for a registry, of which the digest says all. */
  readonly archive: ArchiveFacts | undefined;
}

/** How an archive has its images, sorted. */
interface ArchiveFacts {
  readonly names: readonly string[];
  /** Of a registry's manifests, and of compressed layers. */
  readonly digests: readonly string[];
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
  sources: z.array(
    z.object({
      source: z.string(),
      digest: z.optional(digest),
      images: z.array(digest),
      archive: z.optional(z.object({ names: z.array(z.string()), digests: z.array(digest) })),
    }),
  ),
});

/** Reads what sources are held to. Without a file, they are not, and one is to be made. @throws PreloaderError */
export function readLock(path: string): SourceLock {
  try {
    const bytes = readUntrusted(path, MAX_LOCK_BYTES);
    if (bytes === undefined) return { path, sources: undefined };
    const { sources } = parseJson(bytes.toString('utf8'), lockSchema);
    const bySource = new Map(sources.map((one) => [one.source, { ...one, digest: one.digest, archive: one.archive }]));
    if (bySource.size < sources.length) throw new Error('expected each source once, found one of them again');
    return { path, sources: bySource };
  } catch (error) {
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}: expected a file that build --lock wrote, found another: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** How a lock calls a source. Of an archive of several images, each has a name of its own. */
export function lockedName({ path, image }: ArchiveArgument): string {
  return image === undefined ? path : `${path}:${image}`;
}

/** An argument by which a registry is asked for what the lock has. @throws PreloaderError if it has something else */
export function lockedArgument(argument: ArchiveArgument, { path, sources }: SourceLock): ArchiveArgument {
  if (sources === undefined) return argument;
  const name = lockedName(argument);
  const locked = sources.get(name);
  if (locked === undefined)
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}: expected the source ${name}, found none: remove the file to lock all sources anew`,
    );
  const { source } = argument;
  if (source?.kind !== 'registry') return argument;
  const { digest: expected } = source;
  if (locked.digest === undefined || (expected !== undefined && locked.digest !== expected))
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}: expected ${expected ?? 'a digest'} for ${name}, found ${locked.digest ?? 'none'}: remove the file to lock all sources anew`,
    );
  return { ...argument, source: { ...source, digest: locked.digest } };
}

/**
 * @throws PreloaderError if a source is not what the lock says, or, for a lock that is to be made, if it was two things
 * where it stands twice
 */
export function checkLocked(lock: SourceLock | undefined, taken: readonly TakenSource[]): void {
  if (lock === undefined) return;
  const seen = new Map<string, TakenSource>();
  for (const one of taken) {
    const { source } = one;
    const expected = lock.sources === undefined ? seen.get(source) : lock.sources.get(source);
    seen.set(source, one);
    if (lock.sources === undefined && expected === undefined) continue;
    const found = describe(one, expected);
    const wanted = describe(expected, one);
    if (found !== '')
      throw new PreloaderError(
        'BUILD_FAILED',
        lock.sources === undefined
          ? `${source}: expected the same each time that it is taken, found ${wanted}, then ${found}: it has just been changed, build again`
          : `${source}: expected ${wanted}, as in ${lock.path}, found ${found}: remove that file to lock all sources anew`,
      );
  }
}

/** How an archive has these images. */
export function archiveFacts(images: readonly InputImage[]): ArchiveFacts {
  const sorted = (all: readonly string[]): string[] => [...new Set(all)].sort();
  return {
    names: sorted(images.flatMap(({ references, bareTags }) => [...references, ...bareTags])),
    digests: sorted(
      images.flatMap(({ manifests, sources }) => [
        ...manifests.map((manifest) => manifest.digest),
        ...sources.flatMap(({ blobDigest, stored }) => blobDigest ?? stored?.digest ?? []),
      ]),
    ),
  };
}

/** In what a source differs from another one: its images, its digest, its names, or the digests in it; empty if in none. */
function describe(one: TakenSource | undefined, other: TakenSource | undefined): string {
  const differs = factsOf(one).findIndex((fact, at) => fact !== factsOf(other)[at]);
  return differs === -1 ? '' : factsOf(one)[differs] || 'none';
}

function factsOf(one: TakenSource | undefined): readonly string[] {
  const { images = [], digest: found = '', archive } = one ?? {};
  return [images.join(', '), found, archive?.names.join(', ') ?? '', archive?.digests.join(', ') ?? ''];
}

/** What becomes the lock. Another build may be making the same one. */
export function lockTempPath(path: string): string {
  return `${tempPathOf(path)}-${process.pid}`;
}

/**
 * Writes down what the sources were, durably.
 * @throws PreloaderError if it cannot be written, or if another build has written something else meanwhile
 */
export function writeLock({ path }: SourceLock, taken: readonly TakenSource[]): void {
  const now = readLock(path);
  if (now.sources !== undefined) return checkLocked(now, taken);
  const sources = [...new Map(taken.map((one) => [one.source, one])).values()].toSorted((a, b) =>
    a.source < b.source ? -1 : 1,
  );
  try {
    replaceFile(path, `${JSON.stringify({ lockVersion: VERSION, sources }, undefined, 2)}\n`, {
      mode: 0o644,
      durable: true,
      tempPath: lockTempPath(path),
    });
  } catch (error) {
    throw new PreloaderError(
      'BUILD_FAILED',
      `${path}: expected a file that can be written, found ${reasonOf(error)}: the disk is made, without a lock`,
      { cause: error },
    );
  }
}
