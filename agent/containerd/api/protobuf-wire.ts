/** How a field's value is encoded (protobuf.dev, "Encoding"). */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** The most that a varint takes. */
const MAX_VARINT_BYTES = 10;

/** Writes fields one after the other. */
export class WireWriter {
  #buffer = Buffer.allocUnsafe(256);
  #length = 0;

  /** @throws Error if the value is not an integer that a number holds exactly */
  integer(number: number, value: number): void {
    if (!Number.isSafeInteger(value)) throw new Error(`expected a whole number, found ${value}`);
    this.#need(2 * MAX_VARINT_BYTES);
    this.#varint(number * 8 + VARINT);
    if (value >= 0) this.#varint(value);
    else this.#negative(value);
  }

  bytes(number: number, value: Buffer): void {
    this.#need(2 * MAX_VARINT_BYTES + value.length);
    this.#varint(number * 8 + LENGTH);
    this.#varint(value.length);
    value.copy(this.#buffer, this.#length);
    this.#length += value.length;
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #need(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(2 * (this.#length + bytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }

  #varint(value: number): void {
    let rest = value;
    // No bitwise operators, because they work on 32 bits.
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.#buffer[this.#length++] = (rest % 128) | 0x80;
    this.#buffer[this.#length++] = rest;
  }

  /** Writes it in two's complement, as an unsigned integer of 64 bits. */
  #negative(value: number): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 0x7fn; rest >>= 7n) this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80;
    this.#buffer[this.#length++] = Number(rest);
  }
}

/** Reads fields one after the other. Each method throws Error if the bytes end early or are of another kind. */
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
    const start = this.#offset;
    let small = 0;
    for (let factor = 1; factor < 2 ** 49; factor *= 128) {
      const byte = this.#byte();
      small += (byte & 0x7f) * factor;
      if (byte < 0x80) return small;
    }
    this.#offset = start;
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

  /** Skips a value. */
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
