import { TinyBuffer } from './buffer.ts';

/** Kinds of frames (RFC 9113, section 6). */
export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

/** Flags of frames. The one for an answer to SETTINGS and PING is the same as that for a stream's end. */
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
const PADDED = 8;
const PRIORITY = 0x20;
const PRIORITY_BYTES = 5;

/** The most that a frame may have if nobody has allowed more. */
export const MAX_PAYLOAD_BYTES = 16_384;
const HEAD_BYTES = 9;
const LARGEST_WINDOW = 2 ** 31 - 1;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  /** 0: the connection. */
  readonly stream: number;
  readonly payload: TinyBuffer;
}

export function encodeFrame(type: number, flags: number, stream: number, payload: Uint8Array): TinyBuffer {
  const head = [payload.length >> 16, payload.length >> 8, payload.length, type, flags];
  return TinyBuffer.concat([TinyBuffer.from(head.map((byte) => byte & 0xff)), uint32(stream), payload]);
}

export function uint32(value: number): TinyBuffer {
  const bytes = TinyBuffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

/** Puts frames together from the bytes that come. */
export class FrameReader {
  #left = TinyBuffer.alloc(0);

  /** @throws Error if a frame is too large */
  *take(data: TinyBuffer): Iterable<Frame> {
    this.#left = this.#left.length === 0 ? data : TinyBuffer.concat([this.#left, data]);
    while (this.#left.length >= HEAD_BYTES) {
      const length = this.#left.readUInt32BE(0) >>> 8;
      if (length > MAX_PAYLOAD_BYTES)
        throw new Error(`expected a frame of at most ${MAX_PAYLOAD_BYTES} bytes, found one of ${length}`);
      const end = HEAD_BYTES + length;
      if (this.#left.length < end) return;
      const frame = this.#left.subarray(0, end);
      this.#left = this.#left.subarray(end);
      yield {
        type: frame.readUInt8(3),
        flags: frame.readUInt8(4),
        stream: numberIn(frame, 5),
        payload: frame.subarray(HEAD_BYTES),
      };
    }
  }
}

/** A number of 31 bits. The first bit has no meaning. */
function numberIn(bytes: TinyBuffer, at: number): number {
  return bytes.readUInt32BE(at) & 0x7f_ff_ff_ff;
}

/** The content of a frame, without padding and without the priority of its stream. @throws Error */
export function contentOf({ flags, payload, type }: Frame): TinyBuffer {
  const isPadded = (flags & PADDED) !== 0;
  const begin = (isPadded ? 1 : 0) + (type === HEADERS && (flags & PRIORITY) !== 0 ? PRIORITY_BYTES : 0);
  const end = payload.length - (isPadded ? (payload[0] ?? 0) : 0);
  if (end < begin) throw new Error(`expected padding within a frame of ${payload.length} bytes, found more`);
  return payload.subarray(begin, end);
}

/** @throws Error */
export function settingsIn({ payload }: Frame): ReadonlyMap<number, number> {
  expectSize(payload, payload.length - (payload.length % 6), 'SETTINGS');
  const settings = new Map<number, number>();
  for (let at = 0; at < payload.length; at += 6)
    settings.set(payload.readUInt8(at) * 256 + payload.readUInt8(at + 1), payload.readUInt32BE(at + 2));
  return settings;
}

export function encodeSettings(settings: readonly (readonly [number: number, value: number])[]): TinyBuffer {
  return TinyBuffer.concat(settings.flatMap(([number, value]) => [TinyBuffer.from([0, number]), uint32(value)]));
}

/** The increment of a WINDOW_UPDATE. @throws Error */
export function increaseIn({ payload }: Frame): number {
  expectSize(payload, 4, 'WINDOW_UPDATE');
  const increase = numberIn(payload, 0);
  if (increase === 0) throw new Error('expected a window that grows, found one that grows by 0');
  return increase;
}

/** The error code of a RST_STREAM. @throws Error */
export function errorIn({ payload }: Frame): number {
  expectSize(payload, 4, 'RST_STREAM');
  return payload.readUInt32BE(0);
}

/** @throws Error if the sum is more than a window can be */
export function widened(window: number, by: number): number {
  if (window + by > LARGEST_WINDOW)
    throw new Error(`expected a window of at most ${LARGEST_WINDOW} bytes, found ${window + by}`);
  return window + by;
}

export function expectSize({ length }: Uint8Array, expected: number, name: string): void {
  if (length !== expected) throw new Error(`expected ${expected} bytes of ${name}, found ${length}`);
}
