import { messageOf, PreloaderError } from '../system/errors.ts';
import { checkShape, listOf, matching, objectOf, sha256Digest, text, whole } from '../text/shape.ts';
import { MAX_READ_AHEAD_BYTES, MAX_READ_AHEAD_FILES } from './limits.ts';
import { parseUntrusted } from '../text/parse-untrusted.ts';
import { refuseNewerMajor } from './manifest.ts';

/** The format of a list, major.minor. That of disks has gone on without it. */
export const READ_AHEAD_VERSION = '1.0';

/** The file in the root of a disk with what to read ahead of the first containers. It is only a hint. */
export const READ_AHEAD_NAME = 'docker-preloader-read-ahead.json';

/** The parts of layers' files that are worth reading ahead. `record` prints such a list, and a disk may have one. */
export interface ReadAheadList {
  readonly formatVersion: string;
  /** On a disk, layers and files are in the order in which they are stored. */
  readonly layers: readonly { readonly chainId: string; readonly files: readonly ReadAheadFile[] }[];
}

export interface ReadAheadFile {
  /** Relative to the layer's root. */
  readonly path: string;
  readonly pieces: readonly Piece[];
}

/** A part of a file, in bytes. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

/** Names with slashes between them, of which none is empty, `.` or `..`. */
const PATH = /^(?!\.{1,2}(?:\/|$))[^/\0]+(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)*$/;

const shape = objectOf({
  formatVersion: text,
  layers: listOf(
    objectOf({
      chainId: sha256Digest,
      files: listOf(
        objectOf({
          path: matching(PATH, 'a path below the root of a layer'),
          pieces: listOf(objectOf({ offset: whole, length: whole })),
        }),
      ),
    }),
  ),
});

/** Parses a list that may come from anywhere. @throws Error naming it and the key; PreloaderError FORMAT_NEWER */
export function parseReadAhead(json: string, name: string): ReadAheadList {
  try {
    const document = parseUntrusted(json);
    refuseNewerMajor(document, name, READ_AHEAD_VERSION);
    checkShape(document, shape);
    const list = document as ReadAheadList;
    const { files } = sizeOfList(list);
    if (files > MAX_READ_AHEAD_FILES) throw new Error(`expected at most ${MAX_READ_AHEAD_FILES} files, found ${files}`);
    return list;
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    throw new Error(`${name}: expected a list that docker-preloader record printed: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** A file's pieces, as far as they are within the file. */
export function piecesWithin({ pieces }: ReadAheadFile, sizeBytes: number): Piece[] {
  return pieces.flatMap(({ offset, length }) => {
    const [start, end] = [Math.max(offset, 0), Math.min(offset + length, sizeBytes)];
    return start < end ? [{ offset: start, length: end - start }] : [];
  });
}

/** A list's text. @throws Error if it is larger than the agent accepts */
export function serialiseReadAhead(list: ReadAheadList): string {
  const json = `${JSON.stringify(list)}\n`;
  const { files } = sizeOfList(list);
  if (files > MAX_READ_AHEAD_FILES || Buffer.byteLength(json) > MAX_READ_AHEAD_BYTES)
    throw new Error(
      `expected a list of at most ${MAX_READ_AHEAD_FILES} files and ${MAX_READ_AHEAD_BYTES} bytes, found ${files} files and ${Buffer.byteLength(json)} bytes`,
    );
  return json;
}

/** How many files a list has, and how many bytes of them. */
export function sizeOfList({ layers }: ReadAheadList): { readonly files: number; readonly bytes: number } {
  const files = layers.flatMap((layer) => layer.files);
  return { files: files.length, bytes: bytesOf(files) };
}

export function bytesOf(files: readonly ReadAheadFile[]): number {
  return files.flatMap(({ pieces }) => pieces).reduce((sum, { length }) => sum + length, 0);
}
