const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Whether a text is a sha256 digest as Docker writes it. Each layer is asked for ten times: where patterns are slow, this is
 * another file.
 */
export function isSha256Digest(text: string): boolean {
  return DIGEST.test(text);
}
