const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Whether a text is a sha256 digest as Docker writes it. It is called ten times for each layer. The small engine is
 * slow at patterns, and has another file for this.
 */
export function isSha256Digest(text: string): boolean {
  return DIGEST.test(text);
}
