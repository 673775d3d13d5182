import { constants, createZstdDecompress, zstdDecompressSync } from 'node:zlib';
import { ByteReader } from './byte-reader.ts';
import { CHUNK_BYTES, through } from './through.ts';

/**
 * RFC 8878, 3.1: frames, and skippable frames, which pzstd, zstd:chunked and the seekable format write between them.
 */
const MAGIC = 0xfd2fb528;
const SKIPPABLE_MAGIC = 0x184d2a50;
const MAGIC_BYTES = 4;
/** The most that a block can hold (RFC 8878, 3.1.1.2.4). */
const MAX_BLOCK_BYTES = 128 * 1024;
/** A frame of at most this many blocks is decompressed in one step, because zstd:chunked has a frame for each file. */
const FEW_BLOCKS = 16;
/**
 * 512 MiB, dockerd's limit (klauspost/compress, zstd: MaxWindowSize); zlib's own is 128 MiB. `zstd --long=31` is over
 * both.
 */
const WINDOW = { params: { [constants.ZSTD_d_windowLogMax]: 29 } };

/**
 * Whether it begins like a zstd stream, possibly with a skippable frame (moby, go-archive/compression, zstdMatcher).
 */
export function isZstd(start: Buffer): boolean {
  return start.length >= MAGIC_BYTES && (start.readUInt32LE(0) === MAGIC || isSkippable(start));
}

function isSkippable(start: Buffer): boolean {
  return (start.readUInt32LE(0) & 0xffff_fff0) === SKIPPABLE_MAGIC;
}

/**
 * Decompresses a zstd stream of any number of frames. They are separated here, because in some runtimes zlib's own
 * stream ends after the first one.
 * @throws Error if it is corrupt or cut off
 */
export async function* unzstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(source);
  try {
    for (;;) {
      const magic = await reader.exactly(MAGIC_BYTES);
      if (magic.length === 0) return;
      if (!isZstd(magic)) throw new Error('expected a zstd frame, found something else');
      if (isSkippable(magic)) await skip(reader);
      else yield* unpackFrame(magic, reader);
    }
  } finally {
    await reader.close();
  }
}

async function skip(reader: ByteReader): Promise<void> {
  for (let rest = (await need(reader, 4)).readUInt32LE(0); rest > 0;) {
    rest -= (await need(reader, Math.min(rest, CHUNK_BYTES))).length;
  }
}

async function* unpackFrame(magic: Buffer, reader: ByteReader): AsyncGenerator<Uint8Array> {
  const pieces = framePieces(magic, reader);
  const first: Buffer[] = [];
  let blocks = 0;
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
    first.push(next.value.bytes);
    blocks += next.value.blocks;
    if (blocks <= FEW_BLOCKS) continue;
    yield* through(restOf(first, pieces), createZstdDecompress({ ...WINDOW, chunkSize: CHUNK_BYTES }));
    return;
  }
  yield zstdDecompressSync(Buffer.concat(first), {
    ...WINDOW,
    maxOutputLength: Math.max(blocks, 1) * MAX_BLOCK_BYTES,
    chunkSize: MAX_BLOCK_BYTES,
  });
}

async function* restOf(first: readonly Buffer[], pieces: AsyncGenerator<FramePiece>): AsyncGenerator<Uint8Array> {
  yield* first;
  for await (const { bytes } of pieces) yield bytes;
}

interface FramePiece {
  readonly bytes: Buffer;
  readonly blocks: number;
}

/** The bytes of a frame, up to its end. */
async function* framePieces(magic: Buffer, reader: ByteReader): AsyncGenerator<FramePiece> {
  yield { bytes: magic, blocks: 0 };
  const walk = walkFrame();
  for (let next = walk.next(); next.done !== true;) {
    const { length, blocks } = next.value;
    const bytes = await need(reader, length);
    yield { bytes, blocks };
    next = walk.next(bytes);
  }
}

async function need(reader: ByteReader, length: number): Promise<Buffer> {
  const bytes = await reader.exactly(length);
  if (bytes.length < length) throw new Error('expected whole zstd data, found the end of it');
  return bytes;
}

/**
 * Asks for the bytes after a frame's magic, piece by piece, until its end. `blocks` says how many blocks begin in the
 * piece.
 */
function* walkFrame(): Generator<{ readonly length: number; readonly blocks: number }, void, Buffer> {
  const descriptor = (yield { length: 1, blocks: 0 }).readUInt8(0);
  const oneSegment = (descriptor & 0x20) !== 0;
  const contentSizeBytes = [oneSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  const header = (oneSegment ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] ?? 0) + contentSizeBytes;
  if (header > 0) yield { length: header, blocks: 0 };
  for (let last = false; !last;) {
    const block = (yield { length: 3, blocks: 1 }).readUIntLE(0, 3);
    last = (block & 1) !== 0;
    // A block of type 1 is one repeated byte.
    const length = ((block >> 1) & 3) === 1 ? 1 : block >> 3;
    if (length > 0) yield { length, blocks: 0 };
  }
  if ((descriptor & 4) !== 0) yield { length: 4, blocks: 0 };
}

/**
 * Decompresses at most `length` bytes from the frames at the beginning of `bytes` and ignores what follows them.
 * @throws Error if they are corrupt
 */
export function unzstdStart(bytes: Buffer, length: number): Buffer {
  const pieces: Buffer[] = [];
  let missing = length;
  for (let at = 0; missing > 0 && isZstd(bytes.subarray(at));) {
    const end = frameEnd(bytes, at);
    if (!isSkippable(bytes.subarray(at))) {
      const piece = zstdDecompressSync(bytes.subarray(at, end), { maxOutputLength: missing });
      pieces.push(piece);
      missing -= piece.length;
    }
    at = end;
  }
  return Buffer.concat(pieces);
}

function frameEnd(bytes: Buffer, start: number): number {
  let at = start + MAGIC_BYTES;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('expected whole zstd data, found the end of it');
    return bytes.subarray(at, (at += length));
  };
  if (isSkippable(bytes.subarray(start))) return at + 4 + take(4).readUInt32LE(0);
  const walk = walkFrame();
  for (let next = walk.next(); next.done !== true;) next = walk.next(take(next.value.length));
  return at;
}
