import { door } from './door.ts';

/** Stands for agent/system/ed25519.ts. */
export function verifyEd25519(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return door.ed25519(key, message, signature);
}
