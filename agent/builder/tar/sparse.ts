import { parsePaxNumber, type PaxRecords } from './pax.ts';
import { BLOCK_BYTES } from './tar-header.ts';

/** A piece of a sparse file that has data. Everything else is zeros. */
export interface Fragment {
  readonly offset: number;
  readonly length: number;
}

export interface SparseMap {
  readonly fragments: readonly Fragment[];
  /** The file's size, with its holes. */
  readonly size: number;
  /** Format 1.0: the payload begins with this many bytes of map. */
  readonly mapBytes: number;
  /** The file's real name, if the header has a made-up one. */
  readonly name: Buffer | undefined;
}

const MAX_FRAGMENTS = 1024 * 1024;
/** Enough for 64 bits and for more leading zeros than anybody writes. */
const MAX_NUMBER_LENGTH = 100;
const NEWLINE = 0x0a;

/**
 * Which of GNU tar's PAX formats for sparse files the entry uses (reader.go, readGNUSparsePAXHeaders). Like Go, this
 * ignores unknown versions: the payload is then the file. dockerd refuses GNU's older format, type S.
 */
export function sparseFormat(pax: PaxRecords): '0' | '1.0' | undefined {
  const major = pax.get('GNU.sparse.major') ?? '';
  const minor = pax.get('GNU.sparse.minor') ?? '';
  if (major === '0' && (minor === '0' || minor === '1')) return '0';
  if (major === '1' && minor === '0') return '1.0';
  return major === '' && minor === '' && (pax.get('GNU.sparse.map') ?? '') !== '' ? '0' : undefined;
}

/**
 * Reads the map of a sparse file (GNU tar's manual, "Storing Sparse Files"; reader.go, handleSparseFile).
 * @param payloadBytes how many bytes the entry has in the tar, including its map
 * @param raw reads the next bytes of the tar
 * @throws Error if dockerd refuses the map, or if it has more pieces than we allow
 */
export async function readSparseMap(
  format: '0' | '1.0',
  pax: PaxRecords,
  payloadBytes: number,
  raw: (length: number) => Promise<Buffer>,
): Promise<SparseMap> {
  const name = pax.get('GNU.sparse.name') || undefined;
  const sizeText = (pax.get('GNU.sparse.size') || undefined) ?? (pax.get('GNU.sparse.realsize') || undefined);
  const size = sizeText === undefined ? payloadBytes : parsePaxNumber(sizeText, 'GNU.sparse.size');
  const { fragments, mapBytes } =
    format === '0'
      ? { fragments: readMapInRecords(pax, size), mapBytes: 0 }
      : await readMapInPayload(size, payloadBytes, raw);
  const needed = fragments.reduce((sum, { length }) => sum + length, 0);
  if (needed !== payloadBytes - mapBytes)
    throw new Error(
      `expected a sparse file with the ${needed} bytes of its map, found one with ${payloadBytes - mapBytes}`,
    );
  return { fragments, size, mapBytes, name: name === undefined ? undefined : Buffer.from(name, 'latin1') };
}

function readMapInRecords(pax: PaxRecords, size: number): Fragment[] {
  const map = pax.get('GNU.sparse.map') ?? '';
  const numbers = map === '' ? [] : map.split(',');
  const count = parsePaxNumber(pax.get('GNU.sparse.numblocks') ?? '', 'GNU.sparse.numblocks');
  if (numbers.length !== 2 * count)
    throw new Error(`expected a sparse map of ${count} pieces, found ${numbers.length} numbers`);
  const fragments = new Fragments(size);
  for (const text of numbers) fragments.add(parsePaxNumber(text, 'GNU.sparse.map'));
  return fragments.list;
}

/**
 * The map's first number says how many pieces follow, with two numbers each. It ends within the block of its last
 * newline.
 */
async function readMapInPayload(
  size: number,
  payloadBytes: number,
  raw: (length: number) => Promise<Buffer>,
): Promise<{ readonly fragments: Fragment[]; readonly mapBytes: number }> {
  const fragments = new Fragments(size);
  let missing: number | undefined;
  let mapBytes = 0;
  for (let rest = ''; missing !== 0;) {
    if (mapBytes + BLOCK_BYTES > payloadBytes)
      throw new Error('expected a sparse file with its map, found a shorter one');
    const block = await raw(BLOCK_BYTES);
    mapBytes += BLOCK_BYTES;
    for (let start = 0; start < block.length && missing !== 0;) {
      const end = block.indexOf(NEWLINE, start);
      rest += block.toString('latin1', start, end === -1 ? block.length : end);
      if (rest.length > MAX_NUMBER_LENGTH)
        throw new Error('expected a sparse map with a number on each line, found something else');
      if (end === -1) break;
      const value = parsePaxNumber(rest, 'sparse map');
      rest = '';
      start = end + 1;
      if (missing === undefined) {
        if (value < 0 || value > MAX_FRAGMENTS)
          throw new Error(`expected at most ${MAX_FRAGMENTS} pieces of a sparse file, found ${value}`);
        missing = 2 * value;
      } else {
        fragments.add(value);
        missing -= 1;
      }
    }
  }
  return { fragments: fragments.list, mapBytes };
}

/**
 * Takes offsets and lengths alternately. They have to be in order and within the file (common.go,
 * validateSparseEntries).
 */
class Fragments {
  readonly list: Fragment[] = [];
  readonly #size: number;
  #offset: number | undefined;
  #end = 0;

  constructor(size: number) {
    if (size < 0) throw new Error(`GNU.sparse.size: expected a number of bytes, found ${size}`);
    this.#size = size;
  }

  add(value: number): void {
    if (this.#offset === undefined) {
      if (this.list.length === MAX_FRAGMENTS)
        throw new Error(`expected at most ${MAX_FRAGMENTS} pieces of a sparse file, found more`);
      this.#offset = value;
      return;
    }
    const fragment = { offset: this.#offset, length: value };
    if (fragment.offset < this.#end || value < 0 || fragment.offset + value > this.#size)
      throw new Error('expected a sparse map in order and within the file, found another');
    this.#end = fragment.offset + value;
    this.#offset = undefined;
    this.list.push(fragment);
  }
}
