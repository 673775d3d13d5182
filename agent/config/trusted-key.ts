/** The type, and then the key in base64 (RFC 8709, section 4), whose first 19 bytes are the same for each key. */
const KEY = /^ssh-ed25519 (AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43})(?:[ \t][^\r\n]*)?$/;

/** The key in a line of a .pub file, without its type and comment. Undefined if it is no line of an Ed25519 key. */
export function parseTrustedKey(line: string): string | undefined {
  return KEY.exec(line)?.[1];
}
