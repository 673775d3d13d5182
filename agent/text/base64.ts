const SIGNS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** The bytes of a text in base64 (RFC 4648, section 4). Undefined if it is not exactly what these bytes are in it. */
export function bytesOfBase64(text: string): Buffer | undefined {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  if (text.length % 4 !== 0) return undefined;
  const bytes = Buffer.alloc((text.length / 4) * 3 - padding);
  let bits = 0;
  let held = 0;
  let length = 0;
  for (let at = 0; at < text.length - padding; at += 1) {
    const value = SIGNS.indexOf(text.charAt(at));
    if (value === -1) return undefined;
    held = (held << 6) | value;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[length] = held >> bits;
    length += 1;
    held &= (1 << bits) - 1;
  }
  return held === 0 ? bytes : undefined;
}

/** Bytes as a text in base64. */
export function base64Of(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const held = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += SIGNS.charAt(held >> 18) + SIGNS.charAt((held >> 12) & 0x3f);
    text += SIGNS.charAt((held >> 6) & 0x3f) + SIGNS.charAt(held & 0x3f);
  }
  const missing = (3 - (bytes.length % 3)) % 3;
  return text.slice(0, text.length - missing) + '='.repeat(missing);
}
