import { parsePaxNumber, type PaxRecords } from './pax.ts';
import { BLOCK_BYTES, numeric } from './tar-header.ts';

/** A piece of a sparse file that is there; the rest are zeros. */
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
  /** The file's name, where the header has a made-up one. */
  readonly name: Buffer | undefined;
}

const MAX_FRAGMENTS = 1024 * 1024;
const EXTENSION_ENTRIES = 21;

/** Whether the entry is a sparse file in one of GNU tar's four formats. */
export function hasSparseMap(type: string, pax: PaxRecords): boolean {
  return type === 'S' || ((type === '0' || type === '7') && (pax.has('GNU.sparse.map') || pax.has('GNU.sparse.major')));
}

/**
 * Reads the map of a sparse file (GNU tar's manual, "Storing Sparse Files"; Go, handleSparseFile).
 * @param raw the next bytes of the tar
 */
export async function readSparseMap(block: Buffer, type: string, pax: PaxRecords, payloadBytes: number, raw: (length: number) => Promise<Buffer>): Promise<SparseMap> {
  if (type === 'S') return await readOldMap(block, raw);
  const sizeText = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size') ?? '';
  const name = pax.get('GNU.sparse.name');
  const map = pax.get('GNU.sparse.map');
  let numbers: number[];
  let mapBytes = 0;
  if (map !== undefined) numbers = map === '' ? [] : map.split(',').map((text) => parsePaxNumber(text, 'GNU.sparse.map'));
  else ({ numbers, mapBytes } = await readMapInPayload(raw));
  if (mapBytes > payloadBytes) throw new Error('a sparse file with its map expected, found a shorter one');
  const size = parsePaxNumber(sizeText, 'GNU.sparse.size');
  return { fragments: check(numbers, size), size, mapBytes, name: name === undefined ? undefined : Buffer.from(name, 'latin1') };
}

async function readOldMap(block: Buffer, raw: (length: number) => Promise<Buffer>): Promise<SparseMap> {
  const numbers: number[] = [];
  const size = numeric(block, 483, 12, 'real size');
  const take = (from: Buffer, offset: number, count: number): void => {
    for (let index = 0; index < count; index += 1, offset += 24) {
      if (from[offset] === 0 || from[offset + 12] === 0) return;
      numbers.push(numeric(from, offset, 12, 'sparse offset'), numeric(from, offset + 12, 12, 'sparse length'));
    }
  };
  take(block, 386, 4);
  for (let more = block[482] === 1; more; ) {
    const extension = await raw(BLOCK_BYTES);
    take(extension, 0, EXTENSION_ENTRIES);
    if (numbers.length > 2 * MAX_FRAGMENTS) break;
    more = extension[504] === 1;
  }
  return { fragments: check(numbers, size), size, mapBytes: 0, name: undefined };
}

async function readMapInPayload(raw: (length: number) => Promise<Buffer>): Promise<{ readonly numbers: number[]; readonly mapBytes: number }> {
  let text = '';
  let mapBytes = 0;
  for (let expected: number | undefined; ; ) {
    const newlines = text.split('\n').length - 1;
    if (expected === undefined && newlines > 0) expected = 1 + 2 * parsePaxNumber(text.slice(0, text.indexOf('\n')), 'sparse map');
    if (expected !== undefined && expected > 2 * MAX_FRAGMENTS) throw new Error(`at most ${MAX_FRAGMENTS} pieces of a sparse file expected, found more`);
    if (expected !== undefined && newlines >= expected) return { numbers: text.split('\n').slice(1, expected).map((one) => parsePaxNumber(one, 'sparse map')), mapBytes };
    if (mapBytes > 16 * MAX_FRAGMENTS) throw new Error('a sparse map expected, found something else');
    text += (await raw(BLOCK_BYTES)).toString('latin1');
    mapBytes += BLOCK_BYTES;
  }
}

function check(numbers: readonly number[], size: number): Fragment[] {
  if (numbers.length > 2 * MAX_FRAGMENTS) throw new Error(`at most ${MAX_FRAGMENTS} pieces of a sparse file expected, found more`);
  const fragments: Fragment[] = [];
  let end = 0;
  for (let index = 0; index + 1 < numbers.length; index += 2) {
    const offset = numbers[index] ?? 0;
    const length = numbers[index + 1] ?? 0;
    if (offset < end || length < 0 || offset + length > size) throw new Error('a sparse map in order and within the file expected, found another');
    end = offset + length;
    fragments.push({ offset, length });
  }
  return fragments;
}
