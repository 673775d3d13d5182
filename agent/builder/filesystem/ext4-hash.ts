const START = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const;
const K2 = 0x5a827999;
const K3 = 0x6ed9eba1;
/** A hash that means "the end" to readdir (fs/ext4/ext4.h, EXT4_HTREE_EOF_32BIT). */
const END = 0xfffffffe;

/** The words of a name that one step takes. */
const words = new Uint32Array(8);
const state = new Uint32Array(4);

/**
 * The hash by which an index finds a name: half MD4 of unsigned bytes, without a seed (fs/ext4/hash.c, ext4fs_dirhash).
 * Its lowest bit is clear. A seed would keep people from creating names that collide; nobody creates names on a disk
 * that is never written to.
 * @param name its bytes are those up to `length`, at most 255
 */
export function nameHash(name: Buffer, length: number): number {
  state.set(START);
  for (let offset = 0; offset < length; offset += 32) {
    fillWords(name, offset, length - offset);
    transform();
  }
  const hash = ((state[1] ?? 0) & ~1) >>> 0;
  return hash === END ? END - 2 : hash;
}

/** Takes 32 bytes, big-endian. Missing bytes are filled with the length (str2hashbuf_unsigned). */
function fillWords(name: Buffer, start: number, length: number): void {
  const pad = Math.imul(length, 0x01010101);
  let value = pad;
  let word = 0;
  const count = Math.min(length, 32);
  for (let index = 0; index < count; index += 1) {
    value = ((name[start + index] ?? 0) + (value << 8)) | 0;
    if (index % 4 !== 3) continue;
    words[word++] = value;
    value = pad;
  }
  if (word < 8) words[word++] = value;
  words.fill(pad, word);
}

/** fs/ext4/hash.c, half_md4_transform. */
function transform(): void {
  let [a = 0, b = 0, c = 0, d = 0] = state;
  const round = (
    mix: (x: number, y: number, z: number) => number,
    constant: number,
    order: readonly number[],
    shifts: readonly number[],
  ): void => {
    order.forEach((word, index) => {
      const shift = shifts[index % 4] ?? 0;
      const sum = (a + mix(b, c, d) + (words[word] ?? 0) + constant) | 0;
      [a, b, c, d] = [d, (sum << shift) | (sum >>> (32 - shift)), b, c];
    });
  };
  round((x, y, z) => z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]);
  round((x, y, z) => ((x & y) + ((x ^ y) & z)) | 0, K2, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]);
  round((x, y, z) => x ^ y ^ z, K3, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]);
  for (const [index, word] of [a, b, c, d].entries()) state[index] = (state[index] ?? 0) + word;
}
