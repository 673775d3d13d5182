/** A sha256 of data that comes in pieces. */
export interface Hash {
  update(content: string | Uint8Array): Hash;
  digest(): Buffer;
}

type BunHasher = new (algorithm: 'sha256') => Hash;

/**
 * Under Bun this uses Bun's own hasher: loading node:crypto there takes a third of the time that an empty program needs
 * to start.
 */
export function newSha256(): Hash {
  const { Bun: bun } = globalThis as { readonly Bun?: { readonly CryptoHasher: BunHasher } };
  return bun === undefined
    ? process.getBuiltinModule('node:crypto').createHash('sha256')
    : new bun.CryptoHasher('sha256');
}

/** The sha256 of a small piece of data. */
export function sha256Bytes(content: string | Uint8Array): Buffer {
  return newSha256().update(content).digest();
}
