import { TinyBuffer } from './buffer.ts';

/** TextDecoder, for UTF-8 that comes in pieces. */
export class TinyTextDecoder {
  #rest: Uint8Array = new TinyBuffer(0);

  decode(bytes: Uint8Array, _options: { readonly stream: true }): string {
    const all = TinyBuffer.concat([this.#rest, bytes]);
    const end = all.length - unfinished(all);
    this.#rest = TinyBuffer.from(all.subarray(end));
    return all.subarray(0, end).toString();
  }
}

const LONGEST = 4;

/** How many bytes at the end begin a character that is not whole. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back < LONGEST && back <= bytes.length; back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

function lengthOf(first: number): number {
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : LONGEST;
}
