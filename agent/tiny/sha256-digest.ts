import { door } from './door.ts';

/** agent/text/sha256-digest.ts. On this engine, a pattern would take ten thousand instructions for each digest. */
export function isSha256Digest(text: string): boolean {
  return door.isDigest(text);
}
