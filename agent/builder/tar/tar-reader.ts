import { plural } from '../../text/plural.ts';
import type { ByteReader } from '../../streams/byte-reader.ts';
import { parsePax, parsePaxInteger, parsePaxNumber, parsePaxTime, type PaxRecords } from './pax.ts';
import { readSparseMap, sparseFormat, type Fragment } from './sparse.ts';
import { BLOCK_BYTES, parseTarHeader, uint32Of, type TarHeader } from './tar-header.ts';

/** One entry of a tar, with its PAX records and GNU long names applied. */
export interface TarEntry extends TarHeader {
  readonly mtimeNsec: number;
  /** Extended attributes from `SCHILY.xattr.*`, by name. */
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** Where the payload of a sparse file belongs. `size` is then the size of the file, not of the payload. */
  readonly fragments: readonly Fragment[] | undefined;
  /** How many bytes of content follow in the tar. */
  readonly payloadBytes: number;
}

/** The limit for a PAX header or a long name in Go's archive/tar (maxSpecialFileSize). */
const MAX_SPECIAL_BYTES = 1024 * 1024;
/** Types that have no payload, whatever their size field says (Go, isHeaderOnlyType). */
const HEADER_ONLY = new Set(['1', '2', '3', '4', '5', '6']);
const SLASH = 0x2f;
const XATTR_PREFIX = 'SCHILY.xattr.';
const NO_RECORDS: PaxRecords = new Map();
const NO_XATTRS = new Map<string, Buffer>();

/**
 * Reads a tar entry by entry, by the rules of Go's archive/tar, which dockerd uses.
 *
 * Every byte that is not payload goes to `onRaw` in order: headers, long names, padding, and whatever follows the end.
 * The caller reads the payload: `payload` gives it piece by piece, and all of it has to be read before `next`.
 */
export class TarReader {
  readonly #reader: ByteReader;
  readonly #onRaw: (bytes: Buffer) => void;
  readonly #onJump: (bytes: number, padding: number) => void;
  #remaining = 0;
  #padding = 0;

  /** @param onJump moves the source forward by this many bytes and their padding, for `jump` */
  constructor(
    reader: ByteReader,
    onRaw: (bytes: Buffer) => void,
    onJump: (bytes: number, padding: number) => void = () => undefined,
  ) {
    this.#reader = reader;
    this.#onRaw = onRaw;
    this.#onJump = onJump;
  }

  /** The next entry, or undefined at the end of the tar. @throws Error if it is not a tar, or is cut off */
  async next(): Promise<TarEntry | undefined> {
    if (this.#remaining > 0) throw new Error('the payload has to be read before the next entry');
    await this.#skipPadding();
    let pax: PaxRecords = NO_RECORDS;
    let longName: Buffer | undefined;
    let longLink: Buffer | undefined;
    for (;;) {
      const block = await this.#reader.exactly(BLOCK_BYTES);
      this.#onRaw(block);
      if (block.length === 0) return undefined;
      if (block.length < BLOCK_BYTES)
        throw new Error(`expected a tar header of ${BLOCK_BYTES} bytes, found the end after ${block.length}`);
      const header = parseTarHeader(block);
      if (header === undefined) {
        await this.#readEnd();
        return undefined;
      }
      if (header.type === 'x') pax = parsePax(await this.#special(header));
      // A global header, as git and others write it, is an entry for Go: the headers before it belong to it and not to
      // the next file.
      else if (header.type === 'g') return globalEntry(header, parsePax(await this.#special(header)));
      else if (header.type === 'L') longName = untilZero(await this.#special(header));
      else if (header.type === 'K') longLink = untilZero(await this.#special(header));
      else return await this.#entry(header, pax, longName, longLink);
    }
  }

  /** The next piece of the current entry's payload, undefined after the last one. @throws Error if it is cut off */
  async payload(): Promise<Buffer | undefined> {
    if (this.#remaining === 0) return undefined;
    const piece = await this.#reader.some(this.#remaining);
    if (piece === undefined)
      throw new Error(`expected ${plural(this.#remaining, 'more byte')}, found the end of the archive`);
    this.#remaining -= piece.length;
    return piece;
  }

  /**
   * Reads on after the end of the tar, for a caller that wants the whole source.
   * @returns whether there was anything
   */
  async readOn(): Promise<boolean> {
    const piece = await this.#reader.some(BLOCK_BYTES * 128);
    if (piece !== undefined) this.#onRaw(piece);
    return piece !== undefined;
  }

  /** Skips the payload and its padding, for a source that can move forward without reading. */
  jump(): void {
    this.#onJump(this.#remaining, this.#padding);
    this.#remaining = 0;
    this.#padding = 0;
  }

  async #entry(
    header: TarHeader,
    pax: PaxRecords,
    longName: Buffer | undefined,
    longLink: Buffer | undefined,
  ): Promise<TarEntry> {
    const named = { ...header, ...namesOf(header, pax, longName, longLink) };
    const type = header.type === '\0' ? (named.name.at(-1) === SLASH ? '5' : '0') : header.type;
    const isHeaderOnly = HEADER_ONLY.has(type);
    const payloadBytes = isHeaderOnly
      ? 0
      : pax.get('size')
        ? parsePaxNumber(pax.get('size') ?? '', 'size')
        : header.size;
    if (payloadBytes < 0) throw new Error(`size: expected a number of bytes, found ${payloadBytes}`);
    this.#remaining = payloadBytes;
    this.#padding = -payloadBytes & (BLOCK_BYTES - 1);
    const mtime = pax.get('mtime') ? parsePaxTime(pax.get('mtime') ?? '') : { sec: header.mtimeSec, nsec: 0 };
    const xattrs = pax.size === 0 ? NO_XATTRS : new Map<string, Buffer>();
    for (const [key, content] of pax)
      if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), Buffer.from(content, 'latin1'));
    const format = sparseFormat(pax);
    if (format !== undefined && isHeaderOnly)
      throw new Error(`expected a sparse file, found a map of one for the tar type ${JSON.stringify(type)}`);
    const sparse =
      format === undefined ? undefined : await readSparseMap(format, pax, payloadBytes, (length) => this.#raw(length));
    if (sparse !== undefined) this.#remaining -= sparse.mapBytes;
    return {
      ...named,
      type,
      name: sparse?.name ?? named.name,
      uid: pax.get('uid') ? uint32Of(parsePaxInteger(pax.get('uid') ?? '', 'uid')) : header.uid,
      gid: pax.get('gid') ? uint32Of(parsePaxInteger(pax.get('gid') ?? '', 'gid')) : header.gid,
      size: sparse?.size ?? payloadBytes,
      mtimeSec: mtime.sec,
      mtimeNsec: mtime.nsec,
      xattrs,
      fragments: sparse?.fragments,
      payloadBytes: this.#remaining,
    };
  }

  async #raw(length: number): Promise<Buffer> {
    const bytes = await this.#reader.exactly(length);
    this.#onRaw(bytes);
    if (bytes.length < length)
      throw new Error(`expected ${plural(length, 'byte')}, found the end of the archive after ${bytes.length}`);
    return bytes;
  }

  async #special(header: TarHeader): Promise<Buffer> {
    if (header.size > MAX_SPECIAL_BYTES)
      throw new Error(`expected a header of at most ${MAX_SPECIAL_BYTES} bytes, found ${header.size}`);
    const padded = (header.size + BLOCK_BYTES - 1) & -BLOCK_BYTES;
    return (await this.#raw(padded)).subarray(0, header.size);
  }

  async #skipPadding(): Promise<void> {
    // Some writers leave out the padding after the last entry, and Go accepts that.
    if (this.#padding > 0) this.#onRaw(await this.#reader.exactly(this.#padding));
    this.#padding = 0;
  }

  async #readEnd(): Promise<void> {
    const second = await this.#reader.exactly(BLOCK_BYTES);
    this.#onRaw(second);
    if (second.length === BLOCK_BYTES && parseTarHeader(second) !== undefined)
      throw new Error('expected a second block of zeros at the end of the tar, found an entry');
  }
}

/**
 * A GNU long name takes precedence over a PAX path. An empty name or an empty PAX value changes nothing (reader.go,
 * next, mergePAX).
 */
function namesOf(
  header: TarHeader,
  pax: PaxRecords,
  longName: Buffer | undefined,
  longLink: Buffer | undefined,
): Pick<TarHeader, 'name' | 'linkName'> {
  const chosen = (long: Buffer | undefined, text: string | undefined, short: Buffer): Buffer =>
    long !== undefined && long.length > 0 ? long : text ? Buffer.from(text, 'latin1') : short;
  return {
    name: chosen(longName, pax.get('path'), header.name),
    linkName: chosen(longLink, pax.get('linkpath'), header.linkName),
  };
}

/** Only the name of a global header counts, as one of the layer's. The rest is ignored (archive.go, Unpack). */
function globalEntry(header: TarHeader, pax: PaxRecords): TarEntry {
  return {
    ...header,
    ...namesOf(header, pax, undefined, undefined),
    size: 0,
    mtimeNsec: 0,
    xattrs: NO_XATTRS,
    fragments: undefined,
    payloadBytes: 0,
  };
}

function untilZero(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end === -1 ? bytes : bytes.subarray(0, end);
}
