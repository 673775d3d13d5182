import { BLOCK_BYTES } from './tar-header.ts';

/** A file or folder of a tar that we make. */
export interface TarMember {
  /** At most 100 bytes. */
  readonly name: string;
  readonly mode: number;
  /** The user and the group. */
  readonly owner: number;
  /** Undefined for a folder. */
  readonly content: TarContent | undefined;
}

export interface TarContent {
  readonly sizeBytes: number;
  /** Exactly so many. */
  pieces(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

const NAME_BYTES = 100;
/** Twelve bytes take eleven octal digits. */
const MAX_OCTAL = 8 ** 11;
/** Two blocks of zeros. */
const END = Buffer.alloc(2 * BLOCK_BYTES);

/**
 * A tar with nothing in it but names, modes, owners and contents: all times are 0, so that the same files give the same
 * bytes.
 * @throws Error if a content has another size than it says
 */
export async function* writeTar(members: readonly TarMember[]): AsyncGenerator<Uint8Array> {
  for (const member of members) {
    yield header(member);
    const { name, content } = member;
    if (content === undefined) continue;
    let written = 0;
    for await (const piece of content.pieces()) {
      written += piece.length;
      yield piece;
    }
    if (written !== content.sizeBytes)
      throw new Error(`${name}: expected ${content.sizeBytes} bytes, found ${written}`);
    yield Buffer.alloc(-written & (BLOCK_BYTES - 1));
  }
  yield END;
}

/** How many bytes it has. */
export function tarBytes(members: readonly TarMember[]): number {
  return members.reduce(
    (sum, { content }) => sum + BLOCK_BYTES + Math.ceil((content?.sizeBytes ?? 0) / BLOCK_BYTES) * BLOCK_BYTES,
    END.length,
  );
}

/** A content that is in memory. */
export function inMemory(bytes: Buffer): TarContent {
  return { sizeBytes: bytes.length, pieces: () => [bytes] };
}

/** A header of POSIX's ustar. A size that its digits do not hold is in base 256, as GNU and Go write it. */
function header({ name, mode, owner, content }: TarMember): Buffer {
  if (Buffer.byteLength(name) > NAME_BYTES) throw new Error(`${name}: expected a name of at most ${NAME_BYTES} bytes`);
  const block = Buffer.alloc(BLOCK_BYTES);
  const octal = (value: number, offset: number, length: number): void => {
    block.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1');
  };
  const sizeBytes = content?.sizeBytes ?? 0;
  block.write(name, 0);
  octal(mode, 100, 8);
  octal(owner, 108, 8);
  octal(owner, 116, 8);
  if (sizeBytes < MAX_OCTAL) octal(sizeBytes, 124, 12);
  else {
    block[124] = 0x80;
    block.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  octal(0, 136, 12);
  block.write(' '.repeat(8), 148, 'latin1');
  block.write(content === undefined ? '5' : '0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
