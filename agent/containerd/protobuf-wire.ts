/** How a field's value is laid out (protobuf.dev, "Encoding"). */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** Writes fields one after the other. */
export class WireWriter {
  readonly #parts: Buffer[] = [];

  /** @throws Error where a number does not hold the integer exactly */
  integer(number: number, value: number): void {
    if (!Number.isSafeInteger(value)) throw new Error(`expected a whole number, found ${value}`);
    this.#parts.push(varint(BigInt(number * 8 + VARINT)), varint(BigInt.asUintN(64, BigInt(value))));
  }

  bytes(number: number, value: Buffer): void {
    this.#parts.push(varint(BigInt(number * 8 + LENGTH)), varint(BigInt(value.length)), value);
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function varint(value: bigint): Buffer {
  const encoded: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) encoded.push(Number(rest & 0x7fn) | 0x80);
  encoded.push(Number(rest));
  return Buffer.from(encoded);
}

/** Reads fields one after the other; each method throws Error where the bytes end early or are of another kind. */
export class WireReader {
  readonly #encoded: Buffer;
  #offset = 0;

  constructor(encoded: Buffer) {
    this.#encoded = encoded;
  }

  isAtEnd(): boolean {
    return this.#offset === this.#encoded.length;
  }

  tag(): { readonly number: number; readonly wireType: number } {
    const tag = this.#small();
    if (tag < 8) throw new Error('expected the number of a field, found 0');
    return { number: Math.floor(tag / 8), wireType: tag % 8 };
  }

  /** A signed integer of 64 bits. */
  integer(wireType: number): number {
    expectType(wireType, VARINT);
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        const signed = BigInt.asIntN(64, value);
        const number = Number(signed);
        if (!Number.isSafeInteger(number)) throw new Error(`expected a whole number of 53 bits, found ${signed}`);
        return number;
      }
    }
    throw new Error('expected an integer of at most 10 bytes, found a longer one');
  }

  bytes(wireType: number): Buffer {
    expectType(wireType, LENGTH);
    return this.#take(this.#small());
  }

  /** Passes over a value. */
  skip(wireType: number): void {
    if (wireType === VARINT) while (this.#byte() >= 0x80);
    else if (wireType === LENGTH) this.#take(this.#small());
    else if (wireType === FIXED64) this.#take(8);
    else if (wireType === FIXED32) this.#take(4);
    else throw new Error(`expected a known wire type, found ${wireType}`);
  }

  /** An unsigned integer of 32 bits: a tag, or a length. */
  #small(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 35; factor *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new Error('expected an integer of at most 5 bytes, found a longer one');
  }

  #byte(): number {
    const byte = this.#encoded[this.#offset];
    if (byte === undefined) throw new Error(`expected more than ${this.#encoded.length} bytes, found the end`);
    this.#offset += 1;
    return byte;
  }

  #take(length: number): Buffer {
    const end = this.#offset + length;
    if (end > this.#encoded.length)
      throw new Error(`expected ${length} bytes, found ${this.#encoded.length - this.#offset}`);
    const taken = this.#encoded.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }
}

function expectType(found: number, expected: number): void {
  if (found !== expected) throw new Error(`expected wire type ${expected}, found ${found}`);
}
