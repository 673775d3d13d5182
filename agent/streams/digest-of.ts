import { createHash } from 'node:crypto';

/** Signals are handled between so many bytes. */
const TURN_BYTES = 32 * 1024 * 1024;

/**
 * The sha256 digest of bytes that come in pieces.
 * @param onPiece gets each piece
 */
export async function digestOf(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  onPiece: (piece: Uint8Array) => void = () => undefined,
): Promise<string> {
  const hash = createHash('sha256');
  let sinceTurn = 0;
  for await (const piece of pieces) {
    hash.update(piece);
    onPiece(piece);
    sinceTurn += piece.length;
    if (sinceTurn < TURN_BYTES) continue;
    sinceTurn = 0;
    await new Promise((resolve) => void setImmediate(resolve));
  }
  return `sha256:${hash.digest('hex')}`;
}
