import { door } from './door.ts';

type Encoding = 'utf8' | 'latin1' | 'hex' | 'utf16le';

/** Without `from`, which a Buffer has another of. */
const Bytes = Uint8Array as new (content: number | ArrayBuffer | Iterable<number>) => Uint8Array<ArrayBuffer>;

/** Node's Buffer, as far as the boot path uses it. */
export class TinyBuffer extends Bytes {
  static alloc(size: number): TinyBuffer {
    return new TinyBuffer(size);
  }

  static allocUnsafe(size: number): TinyBuffer {
    return new TinyBuffer(size);
  }

  static from(value: string | Iterable<number>, encoding: 'utf8' | 'latin1' = 'utf8'): TinyBuffer {
    if (typeof value !== 'string') return new TinyBuffer(value);
    return encoding === 'utf8' ? new TinyBuffer(door.encode(value)) : latin1Bytes(value);
  }

  static byteLength(text: string): number {
    return door.size(text);
  }

  static concat(parts: readonly Uint8Array[]): TinyBuffer {
    const whole = new TinyBuffer(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  override toString(encoding: Encoding = 'utf8', start = 0, end = this.length): string {
    const part = start === 0 && end === this.length ? this : this.subarray(start, end);
    if (encoding === 'utf8') return door.utf8(part);
    if (encoding === 'latin1') return door.latin1(part);
    if (encoding === 'hex') return door.hex(part);
    return utf16Text(part);
  }

  override subarray(start?: number, end?: number): TinyBuffer {
    return super.subarray(start, end) as TinyBuffer;
  }

  equals(other: Uint8Array): boolean {
    return door.equals(this, other);
  }

  override indexOf(value: number | string, from = 0): number {
    return typeof value === 'number' ? super.indexOf(value, from) : door.find(this, value, from);
  }

  copy(target: Uint8Array, at: number, start = 0, end = this.length): void {
    target.set(this.subarray(start, end), at);
  }

  swap16(): this {
    if (this.length % 2 !== 0) throw new RangeError('expected an even number of bytes, found an odd one');
    for (let at = 0; at < this.length; at += 2) this.set([this[at + 1] ?? 0, this[at] ?? 0], at);
    return this;
  }

  #view(): DataView {
    return new DataView(this.buffer, this.byteOffset, this.length);
  }

  readUInt8(at: number): number {
    return this.#view().getUint8(at);
  }

  readUInt16LE(at: number): number {
    return this.#view().getUint16(at, true);
  }

  readUInt32LE(at: number): number {
    return this.#view().getUint32(at, true);
  }

  readUInt32BE(at: number): number {
    return this.#view().getUint32(at);
  }

  readInt16LE(at: number): number {
    return this.#view().getInt16(at, true);
  }

  readBigInt64LE(at: number): bigint {
    return this.#view().getBigInt64(at, true);
  }

  writeUInt16LE(value: number, at: number): void {
    this.#view().setUint16(at, value, true);
  }

  writeUInt32BE(value: number, at: number): void {
    this.#view().setUint32(at, value);
  }

  writeInt16LE(value: number, at: number): void {
    this.#view().setInt16(at, value, true);
  }

  writeInt32LE(value: number, at: number): void {
    this.#view().setInt32(at, value, true);
  }

  /** @param rest where it begins, how long it may be, and its encoding: latin1 */
  write(text: string, at: number, ...rest: ['latin1'] | [length: number, encoding: 'latin1']): number {
    const bytes = latin1Bytes(text).subarray(0, typeof rest[0] === 'number' ? rest[0] : this.length - at);
    this.set(bytes, at);
    return bytes.length;
  }

  writeBigUInt64LE(value: bigint): void {
    this.#view().setBigUint64(0, value, true);
  }
}

function latin1Bytes(text: string): TinyBuffer {
  const bytes = new TinyBuffer(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** A last byte that is half of a unit is left out, as in Node. */
function utf16Text(bytes: Uint8Array): string {
  const units: string[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2)
    units.push(String.fromCharCode((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)));
  return units.join('');
}
