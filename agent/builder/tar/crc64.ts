/**
 * The CRC-64 of tar-split: Go's crc64.ISO, reversed polynomial 0xD800000000000000, all ones before and after.
 *
 * The polynomial is x^64 + x^4 + x^3 + x + 1, so 32 bits at a time can be reduced with shifts only, without a table:
 * the bits that leave the register, times (x^4 + x^3 + x + 1), have a degree of at most 35.
 */
export class Crc64 {
  #high = 0xffffffff | 0;
  #low = 0xffffffff | 0;
  /** Bytes that do not make up 32 bits yet. */
  readonly #rest: number[] = [];

  update(bytes: Uint8Array): void {
    let offset = 0;
    while (this.#rest.length > 0 && offset < bytes.length) {
      this.#rest.push(bytes[offset++] ?? 0);
      if (this.#rest.length === 4) {
        const [a = 0, b = 0, c = 0, d = 0] = this.#rest;
        this.#rest.length = 0;
        this.#word(a | (b << 8) | (c << 16) | (d << 24));
      }
    }
    const words = (bytes.length - offset) >>> 2;
    let high = this.#high;
    let low = this.#low;
    for (let index = 0; index < words; index += 1, offset += 4) {
      const value =
        low ^
        ((bytes[offset] as number) |
          ((bytes[offset + 1] as number) << 8) |
          ((bytes[offset + 2] as number) << 16) |
          ((bytes[offset + 3] as number) << 24));
      low = high ^ (value << 31) ^ (value << 29) ^ (value << 28);
      high = value ^ (value >>> 1) ^ (value >>> 3) ^ (value >>> 4);
    }
    this.#high = high;
    this.#low = low;
    while (offset < bytes.length) this.#rest.push(bytes[offset++] ?? 0);
  }

  #word(data: number): void {
    const value = this.#low ^ data;
    this.#low = this.#high ^ (value << 31) ^ (value << 29) ^ (value << 28);
    this.#high = value ^ (value >>> 1) ^ (value >>> 3) ^ (value >>> 4);
  }

  /** The checksum of all bytes so far, big-endian. */
  digest(): Buffer {
    let high = this.#high >>> 0;
    let low = this.#low >>> 0;
    for (const byte of this.#rest) {
      let value = (low ^ byte) & 0xff;
      low = ((low >>> 8) | (high << 24)) >>> 0;
      high >>>= 8;
      // The same reduction for eight bits. Nothing overflows into the upper half, since 8 + 4 < 32.
      value <<= 24;
      high = (high ^ value ^ (value >>> 1) ^ (value >>> 3) ^ (value >>> 4)) >>> 0;
    }
    const sum = Buffer.alloc(8);
    sum.writeUInt32BE(~high >>> 0, 0);
    sum.writeUInt32BE(~low >>> 0, 4);
    return sum;
  }
}
