import { createReadStream, createWriteStream, openSync, readSync, closeSync, statSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { isENOENT, messageOf, noSuchFile } from '../../system/errors.ts';
import { plural } from '../../text/plural.ts';
import { ByteReader } from '../../streams/byte-reader.ts';
import { compressionOf, decompress, MAGIC_BYTES } from '../../streams/decompress.ts';
import type { Archive } from './archive.ts';
import { archiveError, withArchiveName } from './archive-error.ts';
import { openFolder } from './folder-archive.ts';
import { foreignFormat } from './foreign-format.ts';
import { cleanPath } from '../tar/clean-path.ts';
import { printable } from '../../text/printable.ts';
import { MemberArchive, type Member } from './member-archive.ts';
import { BLOCK_BYTES, parseTarHeader } from '../tar/tar-header.ts';
import { TarReader } from '../tar/tar-reader.ts';

const CHUNK_BYTES = 1024 * 1024;
const MAX_ENTRIES = 100_000;
/** The offset of the magic in a tar's header. */
const USTAR = 257;

/**
 * Opens a `docker save` archive or an OCI layout, as a tar (plain or compressed) or a folder; `-` is standard input. A
 * stream or a compressed tar, which cannot be read from any offset, is unpacked into `spoolPath()` first.
 */
export async function openArchive(name: string, spoolPath: () => string): Promise<Archive> {
  return await withArchiveName(name, async () => {
    if (name === '-') return await spool('standard input', process.stdin, spoolPath());
    const stats = statOrExplain(name);
    if (stats.isDirectory()) return openFolder(name);
    if (!stats.isFile() || compressionOf(startOf(name, MAGIC_BYTES)) !== 'none') {
      return await spool(name, createReadStream(name, { highWaterMark: CHUNK_BYTES }), spoolPath());
    }
    return await indexTar(name, name);
  });
}

function statOrExplain(name: string): ReturnType<typeof statSync> & object {
  try {
    return statSync(name);
  } catch (error) {
    if (isENOENT(error)) throw archiveError(name, `expected an archive, found ${noSuchFile(name)}`, error);
    throw error;
  }
}

async function spool(name: string, source: AsyncIterable<Uint8Array>, path: string): Promise<Archive> {
  const reader = new ByteReader(source);
  const start = await reader.exactly(MAGIC_BYTES);
  if (start.length === 0) throw archiveError(name, 'expected an archive, found nothing');
  const whole = rest(start, reader);
  await pipeline(
    Readable.from(fromFirstEntry(name, decompress(whole, compressionOf(start))), { objectMode: false }),
    createWriteStream(path, { flags: 'wx', mode: 0o600 }),
  );
  return await indexTar(name, path);
}

/** Notices something that is not a tar before it fills a disk. */
async function* fromFirstEntry(name: string, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(source);
  try {
    const start = await reader.exactly(BLOCK_BYTES);
    checkStart(name, start);
    yield* rest(start, reader);
  } finally {
    await reader.close();
  }
}

/** @throws PreloaderError if this is not how a tar begins */
function checkStart(name: string, start: Buffer): void {
  let why = 'expected an entry, found none';
  try {
    if (start.length === BLOCK_BYTES && parseTarHeader(start) !== undefined) return;
  } catch (error) {
    why = messageOf(error);
  }
  throw archiveError(name, noTar(start, why));
}

async function* rest(start: Buffer, reader: ByteReader): AsyncGenerator<Uint8Array> {
  yield start;
  for (let piece = await reader.some(CHUNK_BYTES); piece !== undefined; piece = await reader.some(CHUNK_BYTES)) {
    yield piece;
  }
}

function startOf(path: string, length: number): Buffer {
  const buffer = Buffer.alloc(length);
  const fd = openSync(path, 'r');
  try {
    return buffer.subarray(0, readSync(fd, buffer, 0, length, 0));
  } finally {
    closeSync(fd);
  }
}

/** Opens an archive of images that is a plain tar. @param name what it is called in messages */
export async function openTar(name: string, path: string): Promise<Archive> {
  return await withArchiveName(name, async () => await indexTar(name, path));
}

/** Lists a tar's files with their offsets. Only headers are read. */
async function indexTar(name: string, path: string): Promise<Archive> {
  const file = await openFile(path, 'r');
  try {
    const { size } = await file.stat();
    if (size === 0) throw archiveError(name, 'expected an archive, found nothing');
    checkStart(name, startOf(path, BLOCK_BYTES));
    let position = 0;
    const reader = new ByteReader(
      headers(async (length) => {
        const buffer = Buffer.alloc(length);
        const { bytesRead } = await file.read(buffer, 0, length, position);
        position += bytesRead;
        return buffer.subarray(0, bytesRead);
      }),
    );
    // Payloads are not read: the position in the file jumps over them.
    const tar = new TarReader(
      reader,
      () => undefined,
      (bytes, padding) => {
        if (position + bytes > size) {
          throw new Error(`expected ${plural(bytes, 'byte')}, found ${size - position}: the archive is cut off`);
        }
        position += bytes + padding;
      },
    );
    const members = new Map<string, Member>();
    const links = new Map<string, string>();
    let last = '';
    try {
      for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
        last = entry.name.toString('latin1');
        const entryName = cleanPath(`/${last}`).slice(1);
        if (members.size + links.size > MAX_ENTRIES) {
          throw new Error(`expected at most ${MAX_ENTRIES} entries, found more`);
        }
        if (entry.type === '0') {
          if (members.has(entryName)) throw new Error('expected each name once, found it again');
          members.set(entryName, { path, offset: position, sizeBytes: entry.size });
        } else if (entry.type === '2') {
          links.set(entryName, posix.resolve('/', posix.dirname(entryName), entry.linkName.toString('latin1')));
        } else if (entry.type === '1') links.set(entryName, posix.resolve('/', entry.linkName.toString('latin1')));
        tar.jump();
      }
    } catch (error) {
      const where = last === '' ? 'at its first entry' : `at entry '${printable(last)}'`;
      throw archiveError(name, `${where}: ${messageOf(error)}`, error);
    }
    return new MemberArchive(name, members, links);
  } finally {
    await file.close();
  }
}

function noTar(start: Buffer, why: string): string {
  const found = foreignFormat(start);
  // If this is not a header at all, complaining about a number in it would help nobody.
  const isHeader = start.toString('latin1', USTAR, USTAR + 5) === 'ustar';
  const reason = isHeader ? `: ${why}` : `; found ${found ?? 'something else'}`;
  return `expected a tar of images, plain or compressed with gzip, zstd or xz${reason}`;
}

/** Gives one header block at a time, so that the reader's buffer is empty when a payload is jumped over. */
async function* headers(read: (length: number) => Promise<Buffer>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const block = await read(BLOCK_BYTES);
    if (block.length === 0) return;
    yield block;
  }
}
