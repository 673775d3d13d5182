import * as z from 'zod/mini';
import { parseJson } from '../text/parse-json.ts';
import { plural } from '../text/plural.ts';
import { decompress } from '../streams/decompress.ts';
import type { FolderContent } from '../disk/filesystem-reader.ts';
import { MAX_TAR_SPLIT_LINE_BYTES } from '../disk/limits.ts';
import { printable } from '../text/printable.ts';

const recordSchema = z.looseObject({
  type: z.int(),
  name: z.optional(z.string()),
  name_raw: z.optional(z.string()),
  size: z.optional(z.int()),
  payload: z.nullish(z.string()),
  /** For a sparse file: where its payload belongs, as offsets and lengths. */
  fragments: z.optional(z.array(z.tuple([z.int(), z.int()]))),
});

/**
 * Puts a layer's tar together from its tar-split and its files (vbatts/tar-split, tar/asm/assemble.go), piece by piece.
 * @param files the files below the layer's root, their names as latin1
 * @param onLine gets each line's bytes before the line is used, and may throw to end it all
 * @throws Error naming the file
 */
export async function* assemble(
  tarSplit: Iterable<Buffer>,
  files: FolderContent,
  onLine: (bytes: number) => void = () => undefined,
): AsyncGenerator<Buffer> {
  for await (const record of recordsOf(tarSplit, onLine)) {
    if (record.type === 2) yield Buffer.from(record.payload ?? '', 'base64');
    else if (record.type === 1 && (record.size ?? 0) > 0) {
      const name =
        record.name_raw === undefined
          ? Buffer.from(record.name ?? '').toString('latin1')
          : Buffer.from(record.name_raw, 'base64').toString('latin1');
      yield* payloadOf(files, name, record.size ?? 0, record.fragments);
    }
  }
}

/** How many bytes the tar has, by its tar-split alone. @param onLine as for `assemble` */
export async function assembledBytes(
  tarSplit: Iterable<Buffer>,
  onLine: (bytes: number) => void = () => undefined,
): Promise<number> {
  let bytes = 0;
  for await (const record of recordsOf(tarSplit, onLine)) {
    if (record.type === 2) bytes += Buffer.byteLength(record.payload ?? '', 'base64');
    else if (record.type === 1)
      bytes += record.fragments?.reduce((sum, [, length]) => sum + length, 0) ?? record.size ?? 0;
  }
  return bytes;
}

async function* recordsOf(
  tarSplit: Iterable<Buffer>,
  onLine: (bytes: number) => void,
): AsyncGenerator<z.infer<typeof recordSchema>> {
  for await (const line of lines(decompress(eachOf(tarSplit), 'gzip'))) {
    onLine(line.length);
    yield parseJson(line, recordSchema);
  }
}

/** The part of a file that is in the tar. The file may be anything, so its size is compared before it is read. */
function* payloadOf(
  files: FolderContent,
  name: string,
  size: number,
  fragments: readonly (readonly [number, number])[] = [[0, size]],
): Generator<Buffer> {
  const found = files.sizeOf(name);
  if (found === undefined) throw new Error(`${printable(name)}: expected a regular file, found none`);
  if (found !== size) throw new Error(`'${printable(name)}': expected ${plural(size, 'byte')}, found ${found}`);
  let end = 0;
  for (const [offset, length] of fragments) {
    if (offset < end || length < 0 || offset + length > size)
      throw new Error(`'${printable(name)}': expected a map in order and within the file, found another`);
    end = offset + length;
    if (length > 0) yield* files.pieces(name, offset, end);
  }
}

async function* eachOf(source: Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield* source;
}

async function* lines(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of source) {
    let piece = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    for (let end = piece.indexOf(NEWLINE); end !== -1; end = piece.indexOf(NEWLINE)) {
      yield Buffer.concat([...rest, piece.subarray(0, end)]).toString('utf8');
      rest = [];
      restBytes = 0;
      piece = piece.subarray(end + 1);
    }
    restBytes += piece.length;
    if (restBytes > MAX_TAR_SPLIT_LINE_BYTES)
      throw new Error(
        `expected a tar-split with lines of at most ${MAX_TAR_SPLIT_LINE_BYTES} bytes, found a longer one`,
      );
    if (piece.length > 0) rest.push(Buffer.from(piece));
  }
  if (rest.length > 0) yield Buffer.concat(rest).toString('utf8');
}

const NEWLINE = 0x0a;
