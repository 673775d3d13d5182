/** The size of a tar's blocks. */
export const BLOCK_BYTES = 512;

/**
 * One header block, before PAX records and GNU long names are applied. Names are bytes, because nothing guarantees
 * UTF-8. They are views of the block, and have to be copied to be kept.
 */
export interface TarHeader {
  readonly name: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeSec: number;
  /**
   * One character. In the oldest tars, `\0` is a file or a folder: only the whole name tells which, and that may come
   * from other headers.
   */
  readonly type: string;
  readonly linkName: Buffer;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/**
 * Parses a header block as Go's archive/tar does (reader.go, readHeader; strconv.go), since that decides what dockerd
 * accepts.
 * @returns undefined for a block of zeros
 * @throws Error with what was expected and what was found
 */
export function parseTarHeader(block: Buffer): TarHeader | undefined {
  if (block.equals(ZERO_BLOCK)) return undefined;
  if (!checksumHolds(block)) throw new Error('expected a tar header with a right checksum, found something else');
  const magic = block.toString('latin1', 257, 265);
  const ustar = magic.startsWith('ustar\0');
  const gnu = magic === 'ustar  \0';
  const star = ustar && block.toString('latin1', 508, 512) === 'tar\0';
  // Fields that are not used here are parsed as well, because dockerd refuses a tar with a wrong one.
  if (star)
    for (const [offset, what] of [
      [476, 'atime'],
      [488, 'ctime'],
    ] as const)
      numeric(block, offset, 12, what);
  const prefix = ustar ? text(block, 345, star ? 131 : 155) : gnu ? prefixOfOldGo(block) : NOTHING;
  const rest = text(block, 0, 100);
  const name = prefix.length === 0 ? rest : Buffer.concat([prefix, Buffer.from('/'), rest]);
  return {
    name,
    mode: uint32Of(integer(block, 100, 8, 'mode')),
    uid: uint32Of(integer(block, 108, 8, 'uid')),
    gid: uint32Of(integer(block, 116, 8, 'gid')),
    size: size(block),
    mtimeSec: Number(integer(block, 136, 12, 'mtime')),
    type: String.fromCharCode(block[156] ?? 0),
    linkName: text(block, 157, 100),
    deviceMajor: ustar || gnu ? Number(integer(block, 329, 8, 'device major')) : 0,
    deviceMinor: ustar || gnu ? Number(integer(block, 337, 8, 'device minor')) : 0,
  };
}

/**
 * What the kernel makes of a number if a system call takes 32 bits of it: for lchown(2), as Go calls it, the number
 * wraps around.
 */
export function uint32Of(value: number | bigint): number {
  return typeof value === 'number' && value >= 0 && value <= 0xffffffff
    ? value
    : Number(BigInt.asUintN(32, BigInt(value)));
}

/**
 * Go before 1.8 wrote a prefix where GNU has times. Go's reader takes the field for a prefix if it is not a time
 * (reader.go, readHeader).
 */
function prefixOfOldGo(block: Buffer): Buffer {
  try {
    for (const [offset, what] of [
      [345, 'atime'],
      [357, 'ctime'],
    ] as const)
      if (block[offset] !== 0) integer(block, offset, 12, what);
    return NOTHING;
  } catch {
    const prefix = text(block, 345, 155);
    return prefix.some((byte) => byte >= 0x80) ? NOTHING : prefix;
  }
}

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);
const NOTHING = Buffer.alloc(0);

function size(block: Buffer): number {
  const bytes = numeric(block, 124, 12, 'size');
  if (bytes < 0) throw new Error(`size: expected a number of bytes, found ${bytes}`);
  return bytes;
}

/** The sum over the block, with the checksum field itself taken as spaces. Old tars took the bytes as signed. */
function checksumHolds(block: Buffer): boolean {
  const expected = numeric(block, 148, 8, 'checksum');
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < BLOCK_BYTES; index += 1) {
    const byte = index >= 148 && index < 156 ? 0x20 : (block[index] ?? 0);
    unsigned += byte;
    signed += (byte << 24) >> 24;
  }
  return expected === unsigned || expected === signed;
}

function text(block: Buffer, offset: number, length: number): Buffer {
  const field = block.subarray(offset, offset + length);
  const end = field.indexOf(0);
  return end === -1 ? field : field.subarray(0, end);
}

/** Parses a number that fits a JavaScript number. @throws Error */
function numeric(block: Buffer, offset: number, length: number, what: string): number {
  const value = integer(block, offset, length, what);
  if (!Number.isSafeInteger(Number(value))) throw new Error(`${what}: expected a number below 2^53, found ${value}`);
  return Number(value);
}

/** Parses octal digits, or base 256 (two's complement, big-endian) if the first bit is set. */
function integer(block: Buffer, offset: number, length: number, what: string): number | bigint {
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) {
    const negative = (first & 0x40) !== 0;
    let value = BigInt(first & 0x3f) - (negative ? 64n : 0n);
    for (let index = offset + 1; index < offset + length; index += 1) value = value * 256n + BigInt(block[index] ?? 0);
    if (value !== BigInt.asIntN(64, value)) throw new Error(`${what}: expected a number of 64 bits, found ${value}`);
    return value;
  }
  const plain = octal(block, offset, offset + length);
  if (plain !== undefined) return plain;
  const digits =
    block
      .toString('latin1', offset, offset + length)
      .replace(/^[ \0]+/, '')
      .replace(/[ \0]+$/, '')
      .split('\0', 1)[0] ?? '';
  if (digits === '') return 0;
  if (!/^[0-7]+$/.test(digits)) throw new Error(`${what}: expected octal digits, found ${JSON.stringify(digits)}`);
  return Number.parseInt(digits, 8);
}

/**
 * Parses the usual form without making a string: digits with spaces or zeros before them and a NUL or nothing behind.
 * Otherwise each entry would leave eight strings behind.
 */
function octal(block: Buffer, start: number, end: number): number | undefined {
  let value = 0;
  let offset = start;
  while (offset < end && (block[offset] === 0x20 || block[offset] === 0)) offset += 1;
  for (; offset < end; offset += 1) {
    const byte = block[offset] ?? 0;
    if (byte === 0) break;
    if (byte < 0x30 || byte > 0x37) return undefined;
    value = value * 8 + byte - 0x30;
  }
  return value;
}
