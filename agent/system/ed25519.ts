import { createPublicKey, verify } from 'node:crypto';

/** What stands before a key's 32 bytes in DER (RFC 8410, section 4). */
const BEFORE_KEY = Buffer.from('302a300506032b6570032100', 'hex');

/** Whether the equation of a signature holds; the small engine has its own for it. @param key of 32 bytes */
export function verifyEd25519(key: Buffer, message: Buffer, signature: Buffer): boolean {
  const publicKey = createPublicKey({ key: Buffer.concat([BEFORE_KEY, key]), format: 'der', type: 'spki' });
  return verify(undefined, message, publicKey, signature);
}
