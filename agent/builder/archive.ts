import { createReadStream, createWriteStream, lstatSync, openSync, readSync, closeSync, realpathSync, statSync } from 'node:fs';
import { open as openFile, readdir } from 'node:fs/promises';
import { posix, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { isENOENT, messageOf } from '../system/errors.ts';
import { ByteReader } from './byte-reader.ts';
import { compressionOf, decompress, MAGIC_BYTES } from './decompress.ts';
import { archiveError, naming } from './fail.ts';
import { clean, printable } from './layer-tree.ts';
import { TarReader } from './tar-reader.ts';

/** A file of an archive: bytes of a file on this machine. */
interface Member {
  readonly path: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** An archive of images as named files, whether it is a tar or a folder. */
export interface Archive {
  /** As the user named it. */
  readonly name: string;
  has(entry: string): boolean;
  /** A file's size in bytes. @throws PreloaderError where it is not there */
  sizeOf(entry: string): number;
  /** A small file's bytes. @throws PreloaderError where it is not there or larger than `limitBytes` */
  read(entry: string, limitBytes: number): Promise<Buffer>;
  /** A file's bytes as a stream. @throws PreloaderError where it is not there */
  stream(entry: string): AsyncIterable<Uint8Array>;
}

const CHUNK_BYTES = 1024 * 1024;
const MAX_ENTRIES = 100_000;
const MAX_LINKS = 8;

/**
 * Opens a `docker save` archive or an OCI layout, as tar (plain or compressed) or folder; `-` is standard input.
 * What cannot be read at any place, a stream or a compressed tar, is unpacked into `spoolPath()` first.
 */
export async function openArchive(name: string, spoolPath: () => string): Promise<Archive> {
  return await naming(name, async () => {
    if (name === '-') return await spool('standard input', process.stdin, spoolPath());
    const stats = statOrExplain(name);
    if (stats.isDirectory()) return new MemberArchive(name, await folderMembers(name), new Map());
    if (!stats.isFile()) return await spool(name, createReadStream(name, { highWaterMark: CHUNK_BYTES }), spoolPath());
    if (compressionOf(startOf(name)) !== 'none') return await spool(name, createReadStream(name, { highWaterMark: CHUNK_BYTES }), spoolPath());
    return await indexTar(name, name);
  });
}

function statOrExplain(name: string): ReturnType<typeof statSync> & object {
  try {
    return statSync(name);
  } catch (error) {
    if (isENOENT(error)) throw archiveError(name, 'an archive expected, found no such file', error);
    throw error;
  }
}

async function spool(name: string, source: AsyncIterable<Uint8Array>, path: string): Promise<Archive> {
  const reader = new ByteReader(source);
  const start = await reader.exactly(MAGIC_BYTES);
  if (start.length === 0) throw archiveError(name, 'an archive expected, found nothing');
  const whole = rest(start, reader);
  await pipeline(Readable.from(decompress(whole, compressionOf(start)), { objectMode: false }), createWriteStream(path, { flags: 'wx', mode: 0o600 }));
  return await indexTar(name, path);
}

async function* rest(start: Buffer, reader: ByteReader): AsyncGenerator<Uint8Array> {
  yield start;
  for (let piece = await reader.some(CHUNK_BYTES); piece !== undefined; piece = await reader.some(CHUNK_BYTES)) yield piece;
}

function startOf(path: string): Buffer {
  const buffer = Buffer.alloc(MAGIC_BYTES);
  const fd = openSync(path, 'r');
  try {
    return buffer.subarray(0, readSync(fd, buffer, 0, MAGIC_BYTES, 0));
  } finally {
    closeSync(fd);
  }
}

/** Lists a tar's files with their places; only headers are read. */
async function indexTar(name: string, path: string): Promise<Archive> {
  const file = await openFile(path, 'r');
  try {
    const { size } = await file.stat();
    let position = 0;
    const reader = new ByteReader(headers(async (length) => {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await file.read(buffer, 0, length, position);
      position += bytesRead;
      return buffer.subarray(0, bytesRead);
    }));
    // Payloads are not read: the reader is told of them as empty, and the file's position moves on.
    const tar = new TarReader(reader, () => undefined, (bytes, padding) => {
      if (position + bytes > size) throw new Error(`${bytes} bytes expected, found ${size - position}: the archive is cut off`);
      position += bytes + padding;
    });
    const members = new Map<string, Member>();
    const links = new Map<string, string>();
    let last = '';
    try {
      for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
        last = entry.name.toString('latin1');
        const entryName = clean(`/${last}`).slice(1);
        if (members.size + links.size > MAX_ENTRIES) throw new Error(`at most ${MAX_ENTRIES} entries expected, found more`);
        if (entry.type === '0') {
          if (members.has(entryName)) throw new Error('each name once expected, found it again');
          members.set(entryName, { path, offset: position, sizeBytes: entry.size });
        } else if (entry.type === '2') links.set(entryName, clean(`/${posix.dirname(entryName)}/${entry.linkName.toString('latin1')}`).slice(1));
        else if (entry.type === '1') links.set(entryName, clean(`/${entry.linkName.toString('latin1')}`).slice(1));
        tar.jump();
      }
    } catch (error) {
      throw archiveError(name, last === '' ? `a tar of images expected: ${messageOf(error)}` : `at entry '${printable(last)}': ${messageOf(error)}`, error);
    }
    return new MemberArchive(name, members, links);
  } finally {
    await file.close();
  }
}

/** One header block at a time, so that the reader has nothing in its buffer when a payload is jumped over. */
async function* headers(read: (length: number) => Promise<Buffer>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const block = await read(512);
    if (block.length === 0) return;
    yield block;
  }
}

/** The files of an OCI layout in a folder; symlinks out of it are not followed. */
async function folderMembers(name: string): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const root = realpathSync(name);
  for (const relative of await readdir(name, { recursive: true })) {
    const path = `${name}/${relative}`;
    const entry = lstatSync(path);
    const inside = (): boolean => realpathSync(path).startsWith(root + sep);
    if (entry.isFile() || (entry.isSymbolicLink() && inside() && statSync(path).isFile())) members.set(relative, { path, offset: 0, sizeBytes: statSync(path).size });
    if (members.size > MAX_ENTRIES) throw archiveError(name, `at most ${MAX_ENTRIES} files expected, found more`);
  }
  return members;
}

class MemberArchive implements Archive {
  readonly name: string;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #links: ReadonlyMap<string, string>;

  constructor(name: string, members: ReadonlyMap<string, Member>, links: ReadonlyMap<string, string>) {
    this.name = name;
    this.#members = members;
    this.#links = links;
  }

  has(entry: string): boolean {
    return this.#find(entry) !== undefined;
  }

  sizeOf(entry: string): number {
    return this.#member(entry).sizeBytes;
  }

  async read(entry: string, limitBytes: number): Promise<Buffer> {
    const member = this.#member(entry);
    if (member.sizeBytes > limitBytes) throw archiveError(this.name, `entry '${printable(entry)}': at most ${limitBytes} bytes expected, found ${member.sizeBytes}`);
    const pieces: Uint8Array[] = [];
    for await (const piece of this.stream(entry)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  stream(entry: string): AsyncIterable<Uint8Array> {
    const { path, offset, sizeBytes } = this.#member(entry);
    if (sizeBytes === 0) return Readable.from([]);
    return createReadStream(path, { start: offset, end: offset + sizeBytes - 1, highWaterMark: CHUNK_BYTES });
  }

  #member(entry: string): Member {
    const member = this.#find(entry);
    if (member === undefined) throw archiveError(this.name, `the entry '${printable(entry)}' expected, found none`);
    return member;
  }

  /** docker up to 24 saves a layer once, and symlinks to it where it is used again. */
  #find(entry: string): Member | undefined {
    let name = clean(`/${entry}`).slice(1);
    for (let followed = 0; followed <= MAX_LINKS; followed += 1) {
      const member = this.#members.get(name);
      if (member !== undefined) return member;
      const target = this.#links.get(name);
      if (target === undefined) return undefined;
      name = target;
    }
    return undefined;
  }
}
