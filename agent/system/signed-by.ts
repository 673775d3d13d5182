import { verifyEd25519 } from './ed25519.ts';

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;

/** The y of each point of an order of 8 or less. */
const SMALL = [
  `00${'00'.repeat(31)}`,
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
];

/** A y of 2^255 - 19 or more, which is the same as a smaller one. */
const TOO_LARGE = /^(?:e[def]|f.)(?:ff){30}7f$/;

/**
 * Whether a key has signed a message (Ed25519, RFC 8032). A key or an R of a small order is refused, and a key that is
 * not written as it is written: with such a key each message is signed. So does OpenSSL since 3.5, and BoringSSL does
 * not.
 */
export function isSignedBy(key: Buffer, message: Buffer, signature: Buffer): boolean {
  return (
    key.length === KEY_BYTES &&
    signature.length === SIGNATURE_BYTES &&
    isSound(key) &&
    isSound(signature.subarray(0, KEY_BYTES)) &&
    verifyEd25519(key, message, signature)
  );
}

function isSound(point: Buffer): boolean {
  const last = KEY_BYTES - 1;
  const y = point.toString('hex', 0, last) + Buffer.from([point.readUInt8(last) & 0x7f]).toString('hex');
  return !SMALL.includes(y) && !TOO_LARGE.test(y);
}
