import assert from 'node:assert/strict';
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { isSignedBy } from '../../agent/system/signed-by.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import fc from '../support/properties.ts';
import { torture } from '../support/size.ts';
import { tempTree } from '../support/temp-tree.ts';
import type { Question } from './questions.ts';
import { ask, makeProbe } from './probing.ts';

/** A signature that somebody claims. */
interface Claim {
  readonly key: Buffer;
  readonly message: Buffer;
  readonly signature: Buffer;
}

const bun = path.resolve(import.meta.dirname, '../../node_modules/@oven/bun-linux-x64-baseline/bin/bun');

let probe: string;

before(async () => {
  probe = await makeProbe((await tempTree('dpl-ed25519')).path);
});
after(() => cleanUpAll());

/** What all three runtimes say of claims, which is the same. */
async function agreed(claims: readonly Claim[]): Promise<boolean[]> {
  const questions = claims.map(({ key, message, signature }): Question => ({
    ask: 'signed',
    by: key.toString('latin1'),
    message: message.toString('latin1'),
    signature: signature.toString('latin1'),
  }));
  const ofNode = claims.map(({ key, message, signature }) => isSignedBy(key, message, signature));
  assert.deepEqual(await ask(probe, questions), ofNode);
  const { stdout } = await execa(bun, [path.join(import.meta.dirname, 'answer-claims.ts')], {
    input: JSON.stringify(questions),
  });
  assert.deepEqual(JSON.parse(stdout), ofNode);
  return ofNode;
}

const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const PRIME = 2n ** 255n - 19n;

const littleEndian = (number: bigint, bytes = 32): Buffer =>
  Buffer.from(number.toString(16).padStart(2 * bytes, '0'), 'hex').reverse();
const numberOf = (bytes: Buffer): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** What a seed makes (RFC 8032, 5.1.5). */
function keyOf(seed: Buffer): { readonly key: Buffer; readonly scalar: bigint; sign(message: Buffer): Buffer } {
  const pkcs8 = Buffer.concat([hex('302e020100300506032b657004220420'), seed]);
  const secret = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const key = createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32);
  const half = createHash('sha512').update(seed).digest().subarray(0, 32);
  const scalar = (numberOf(half) & (2n ** 254n - 8n)) | (2n ** 254n);
  return { key, scalar, sign: (message) => sign(undefined, message, secret) };
}

const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
const messages = fc.uint8Array({ minLength: 0, maxLength: 300 }).map((bytes) => Buffer.from(bytes));

const withR = (signature: Buffer, r: Buffer): Buffer => Buffer.concat([r, signature.subarray(32)]);
const withS = (signature: Buffer, s: bigint): Buffer => Buffer.concat([signature.subarray(0, 32), littleEndian(s)]);
const flipped = (bytes: Buffer, bit: number): Buffer => {
  const copy = Buffer.from(bytes);
  const at = Math.floor(bit / 8) % bytes.length;
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit % 8));
  return copy;
};

/**
 * Points of an order of 8 or less, as they are written, and as they may be written besides: with p more, and with a
 * sign of 0.
 */
const small = [
  ...[0n, 1n, PRIME - 1n, PRIME, PRIME + 1n].map((y) => littleEndian(y)),
  hex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'),
  hex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a'),
].flatMap((point) => [point, flipped(point, 255)]);

describe('the small engine takes a signature as Node does', () => {
  // RFC 8032, 7.1
  const vectors = [
    [
      'of nothing',
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      '',
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    ],
    [
      'of a byte',
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      '72',
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    ],
    [
      'of two bytes',
      'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
      'af82',
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    ],
    [
      'of a digest',
      'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
      'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
      'dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704',
    ],
  ] as const;
  for (const [name, key, message, signature] of vectors)
    it(`of RFC 8032: ${name}`, async () => {
      const claim = { key: hex(key), message: hex(message), signature: hex(signature) };
      const bits = Array.from({ length: 512 }, (_, bit) => ({ ...claim, signature: flipped(claim.signature, bit) }));
      const found = await agreed([claim, { ...claim, message: Buffer.concat([claim.message, hex('00')]) }, ...bits]);
      assert.deepEqual(found, [true, ...Array.from({ length: 513 }, () => false)]);
    });

  it('of any key and message, whole and with one bit changed', async () => {
    const drawn = fc.sample(fc.tuple(seeds, messages, fc.nat({ max: 511 })), torture ? 5000 : 200);
    const claims = drawn.flatMap(([seed, message, bit]): Claim[] => {
      const made = keyOf(seed);
      const claim = { key: made.key, message, signature: made.sign(message) };
      return [
        claim,
        { ...claim, signature: flipped(claim.signature, bit) },
        { ...claim, key: flipped(claim.key, bit) },
        ...(message.length === 0 ? [] : [{ ...claim, message: flipped(message, bit) }]),
      ];
    });
    const found = await agreed(claims);
    assert.equal(found.filter(Boolean).length, drawn.length);
  });

  it('of messages of each length about that of the blocks of SHA-512', async () => {
    const made = keyOf(Buffer.alloc(32, 7));
    const claims = Array.from({ length: 300 }, (_, length): Claim => {
      const message = Buffer.alloc(length, length);
      return { key: made.key, message, signature: made.sign(message) };
    });
    assert.ok((await agreed(claims)).every(Boolean));
  });

  it('only with an S below the order: each signature would have others besides', async () => {
    const made = keyOf(Buffer.alloc(32, 1));
    const message = Buffer.from('message');
    const signature = made.sign(message);
    const s = numberOf(signature.subarray(32));
    const claim = (more: bigint): Claim => ({ key: made.key, message, signature: withS(signature, more) });
    const more = Array.from({ length: 15 }, (_, times) => s + BigInt(times) * ORDER).filter((one) => one < 2n ** 256n);
    const found = await agreed([...more, 0n, ORDER - 1n, ORDER, ORDER + 1n, 2n ** 256n - 1n].map(claim));
    assert.ok(more.length > 10);
    assert.deepEqual(
      found,
      found.map((_, index) => index === 0),
    );
  });

  it('only with an R that is no point of a small order, however it is written', async () => {
    // With S = h a the equation holds for the neutral point.
    const made = keyOf(Buffer.alloc(32, 2));
    const message = Buffer.from('message');
    const claims = small.map((r): Claim => {
      const h = createHash('sha512').update(r).update(made.key).update(message).digest();
      const s = (numberOf(h) * made.scalar) % ORDER;
      return { key: made.key, message, signature: withS(withR(Buffer.alloc(64), r), s) };
    });
    assert.ok(!(await agreed(claims)).includes(true));
  });

  it('by no key of a small order, however it is written: with the neutral point, each message would have this signature', async () => {
    const made = keyOf(Buffer.alloc(32, 3));
    const signature = Buffer.concat([made.key, littleEndian(made.scalar % ORDER)]);
    const claims = small.flatMap((key) =>
      Array.from({ length: 16 }, (_, number): Claim => ({ key, message: Buffer.from(`message ${number}`), signature })),
    );
    assert.ok(!(await agreed(claims)).includes(true));
  });

  it('by no key that is written with a y of p or more', async () => {
    const made = keyOf(Buffer.alloc(32, 5));
    const message = Buffer.from('message');
    const keys = Array.from({ length: 19 }, (_, more) => littleEndian(PRIME + BigInt(more)));
    const claims = keys
      .flatMap((key) => [key, flipped(key, 255)])
      .map((key): Claim => ({ key, message, signature: made.sign(message) }));
    assert.ok(!(await agreed(claims)).includes(true));
  });

  it('with bytes that are no point, and with too few or too many', async () => {
    const made = keyOf(Buffer.alloc(32, 4));
    const message = Buffer.from('message');
    const signature = made.sign(message);
    const keys = fc.sample(seeds, 100).map((key): Claim => ({ key, message, signature }));
    const lengths = [0, 1, 31, 33, 63, 64, 65, 128].flatMap((length): Claim[] => [
      { key: Buffer.alloc(length), message, signature },
      ...(length === 64
        ? []
        : [{ key: made.key, message, signature: Buffer.concat([signature, signature]).subarray(0, length) }]),
    ]);
    const found = await agreed([...keys, ...lengths]);
    assert.ok(!found.includes(true));
  });
});
