type BunHasher = new (algorithm: 'sha256') => { update(content: string | Uint8Array): { digest(): Buffer } };

/**
 * The sha256 of something small. Under Bun by its own hasher: loading node:crypto there takes a third of the time that an
 * empty program takes to start.
 */
export function sha256Bytes(content: string | Uint8Array): Buffer {
  const { Bun: bun } = globalThis as { readonly Bun?: { readonly CryptoHasher: BunHasher } };
  if (bun !== undefined) return new bun.CryptoHasher('sha256').update(content).digest();
  return process.getBuiltinModule('node:crypto').createHash('sha256').update(content).digest();
}
