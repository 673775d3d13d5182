import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { startFilter } from '../system/child-process.ts';
import { isENOENT } from '../system/errors.ts';
import { toolMissing } from '../system/run-tool.ts';
import { CHUNK_BYTES, through } from './through.ts';
import { isZstd, unzstd } from './zstd.ts';

export type Compression = 'none' | 'gzip' | 'zstd' | 'xz';

const magics: readonly (readonly [Exclude<Compression, 'none' | 'zstd'>, Buffer])[] = [
  ['gzip', Buffer.from([0x1f, 0x8b, 0x08])],
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
];
export const MAGIC_BYTES = 6;

/**
 * The compression by the first bytes. dockerd also goes by them, and not by a name or media type
 * (archive.DetectCompression).
 */
export function compressionOf(start: Buffer): Compression {
  if (isZstd(start)) return 'zstd';
  return magics.find(([, magic]) => start.subarray(0, magic.length).equals(magic))?.[0] ?? 'none';
}

/**
 * Decompresses a stream. Several gzip members or zstd frames in a row count as one stream.
 * @throws Error if it is corrupt
 */
export function decompress(source: AsyncIterable<Uint8Array>, compression: Compression): AsyncIterable<Uint8Array> {
  if (compression === 'none') return source;
  if (compression === 'xz') return unxz(source);
  if (compression === 'zstd') return unzstd(source);
  return gunzip(source);
}

async function* gunzip(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* through(source, createGunzip({ chunkSize: CHUNK_BYTES }));
  } catch (error) {
    // Errors of the source are passed on as they are.
    if (!isOfZlib(error)) throw error;
    throw new Error(
      `expected whole gzip data, found ${error.code === 'Z_BUF_ERROR' ? 'the end of it' : error.message}`,
      { cause: error },
    );
  }
}

function isOfZlib(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('Z_');
}

async function* unxz(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const child = startFilter('xz', ['--decompress', '--stdout', '--quiet']);
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(isENOENT(error) ? toolMissing('xz') : error));
    child.once('close', resolve);
  });
  ended.catch(() => undefined);
  let fault: unknown;
  pipeline(Readable.from(source, { objectMode: false }), child.stdin, (error) => (fault ??= error));
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const code = await ended;
    if (code !== 0)
      throw new Error(
        `expected whole xz data, found what xz refuses: ${said.trim() || `exit status ${String(code)}`}`,
        {
          cause: fault,
        },
      );
  } finally {
    child.kill();
  }
}
