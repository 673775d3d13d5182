import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { constants, zstdCompressSync } from 'node:zlib';
import { decompress, compressionOf } from '../../agent/streams/decompress.ts';
import { unzstdStart } from '../../agent/streams/zstd.ts';

const part = Buffer.concat([Buffer.alloc(300_000, 'text '), randomBytes(70_000), Buffer.alloc(1_000_000, 'text ')]);
const large = Buffer.concat(Array.from({ length: 4 }, () => part));
const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };

/** A frame that is to be skipped; of 16 kinds, all the same. */
function skippable(kind: number, content: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a50 + kind, 0);
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content]);
}

/** A frame of blocks as they are that says how far back it may reach, as `zstd --long=WINDOW` does. */
function stored(content: Buffer, windowLog: number): Buffer {
  const parts: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3])];
  for (let at = 0; at < content.length; at += 131_072) {
    const block = content.subarray(at, at + 131_072);
    const head = Buffer.alloc(3);
    head.writeUIntLE((block.length << 3) | (at + block.length === content.length ? 1 : 0), 0, 3);
    parts.push(head, block);
  }
  return Buffer.concat(parts);
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function unpacked(bytes: Buffer, size: number): Promise<string> {
  assert.equal(compressionOf(bytes.subarray(0, 6)), 'zstd');
  const hash = createHash('sha256');
  for await (const piece of decompress(pieces(bytes, size), 'zstd')) hash.update(piece);
  return hash.digest('hex');
}

describe('a zstd stream', () => {
  const small = zstdCompressSync(part);
  for (const [name, stream, content] of [
    ['of one frame', zstdCompressSync(large, checked), large],
    [
      'of many frames, large and small',
      Buffer.concat([small, zstdCompressSync(large), zstdCompressSync(Buffer.alloc(0)), small]),
      Buffer.concat([part, large, part]),
    ],
    [
      'as pzstd writes it, each frame behind one that says how long it is',
      Buffer.concat([small, small].flatMap((frame) => [skippable(0, Buffer.alloc(4)), frame])),
      Buffer.concat([part, part]),
    ],
    [
      'with more to be skipped at its end',
      Buffer.concat([skippable(15, randomBytes(400_000)), small, skippable(7, Buffer.alloc(0))]),
      part,
    ],
    [
      'with the largest window that dockerd takes, short',
      stored(part.subarray(0, 300_000), 29),
      part.subarray(0, 300_000),
    ],
    ['with the largest window that dockerd takes, long', stored(large, 29), large],
    ['of nothing', skippable(3, Buffer.from('no content')), Buffer.alloc(0)],
  ] as const) {
    it(name, async () => {
      const expected = createHash('sha256').update(content).digest('hex');
      for (const size of [stream.length, 65_536, 997]) {
        assert.equal(await unpacked(stream, size), expected, `in pieces of ${size} bytes`);
      }
    });
  }

  it('is refused where it is cut off, damaged, or goes on as something else', async () => {
    const stream = zstdCompressSync(large, checked);
    for (const length of [stream.length - 1, stream.length - 5, 100, 5]) {
      await assert.rejects(
        unpacked(stream.subarray(0, length), 4096),
        /whole zstd data expected|end/,
        `of ${length} bytes`,
      );
    }
    await assert.rejects(unpacked(skippable(0, Buffer.alloc(90)).subarray(0, 50), 4096), /expected whole zstd data/);
    await assert.rejects(
      unpacked(Buffer.concat([small, Buffer.from('garbage')]), 4096),
      /expected a zstd frame, found something else/,
    );
    await assert.rejects(unpacked(stored(part, 30), 4096), /memory/);
    const damaged = Buffer.from(stream);
    damaged.writeUInt8((damaged.readUInt8(40_000) + 1) % 256, 40_000);
    await assert.rejects(unpacked(damaged, 4096));
  });

  it("ends at its frame's end for a cluster of a qcow2, whatever follows", () => {
    const cluster = part.subarray(200_000, 265_536);
    const frame = zstdCompressSync(cluster);
    for (const after of [Buffer.alloc(0), Buffer.alloc(300), frame, randomBytes(300)]) {
      assert.ok(unzstdStart(Buffer.concat([frame, after]), cluster.length).equals(cluster));
    }
    const halves = Buffer.concat([
      zstdCompressSync(cluster.subarray(0, 30_000)),
      zstdCompressSync(cluster.subarray(30_000)),
    ]);
    assert.ok(unzstdStart(Buffer.concat([halves, Buffer.alloc(9)]), cluster.length).equals(cluster));
    assert.throws(() => unzstdStart(frame.subarray(0, -1), cluster.length), /expected whole zstd data/);
  });
});
