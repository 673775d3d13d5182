import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../../support/properties.ts';
import { ByteReader } from '../../../agent/streams/byte-reader.ts';
import { Spool } from '../../../agent/streams/spool.ts';
import { unpackLayer, type ContentStore } from '../../../agent/builder/layer/unpack-layer.ts';
import type { InodeTree } from '../../../agent/builder/inodes/inode-tree.ts';
import { makeTar, type MadeEntry } from '../tar/make-tar.ts';

const BLOCK_BYTES = 512;

/** A disk in memory. */
class MemoryDisk implements ContentStore {
  bytes: Buffer = Buffer.alloc(BLOCK_BYTES, 'x');

  begin(): number {
    this.end();
    return this.bytes.length / BLOCK_BYTES;
  }

  append(bytes: Uint8Array): void {
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  appendZeros(count: number): void {
    this.append(Buffer.alloc(count));
  }

  end(): void {
    this.appendZeros(-this.bytes.length & (BLOCK_BYTES - 1));
  }

  *readBack(offset: number, length: number): Generator<Buffer> {
    yield this.bytes.subarray(offset, offset + length);
  }
}

interface Laid {
  readonly disk: MemoryDisk;
  readonly tarSplit: Buffer;
  readonly sharedBytes: number;
  /** The files' contents with the rest of their last block, by path. */
  readonly files: ReadonlyMap<string, { readonly content: Buffer; readonly rest: Buffer; readonly at: number }>;
}

/** Unpacks a tar, apart or out of itself. @param known where it is on the disk already */
async function lay(tar: Buffer, isShared: boolean, pieceBytes = 1000, known?: Laid): Promise<Laid> {
  const disk = known?.disk ?? new MemoryDisk();
  const offset = known === undefined ? disk.begin() * BLOCK_BYTES : BLOCK_BYTES;
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let start = 0; start < tar.length; start += pieceBytes) {
      const piece = tar.subarray(start, start + pieceBytes);
      if (isShared && known === undefined) disk.append(piece);
      yield piece;
    }
  }
  const spool = new Spool(() => '/nowhere/tar-split');
  const { tree, tarSplit, sharedBytes } = await unpackLayer(
    new ByteReader(pieces()),
    disk,
    spool,
    isShared ? { offset, blockBytes: BLOCK_BYTES } : undefined,
  );
  disk.end();
  return { disk, tarSplit: Buffer.concat([...tarSplit.pieces()]), sharedBytes, files: filesOf(tree, disk) };
}

function filesOf(tree: InodeTree, disk: MemoryDisk): Laid['files'] {
  const files = new Map<string, { content: Buffer; rest: Buffer; at: number }>();
  for (const folder of tree.folders(tree.root))
    for (const entry of tree.children(folder)) {
      const node = tree.inode(tree.inodeOf(entry));
      if (node.kind !== 'file') continue;
      const at = node.block * BLOCK_BYTES;
      const end = at + node.size;
      const content = node.size === 0 ? Buffer.alloc(0) : disk.bytes.subarray(at, end);
      files.set(tree.path(entry), { content, rest: disk.bytes.subarray(end, end + (-node.size & 511)), at });
    }
  return files;
}

const contents = ({ files }: Laid): ReadonlyMap<string, string> =>
  new Map([...files].map(([name, { content }]) => [name, content.toString('latin1')]));

function endsWithZeros({ files }: Laid): void {
  for (const [name, { content, rest }] of files)
    if (content.length > 0) assert.ok(rest.equals(Buffer.alloc(rest.length)), `${name} must end with zeros`);
}

describe('a tar that is on the disk as a whole', () => {
  it('has all files of its layer as they are apart, also a second time', async () => {
    const entry = fc.record({
      name: fc.string({ unit: fc.constantFrom('a', 'b', 'c', '/'), minLength: 1, maxLength: 5 }),
      type: fc.constantFrom('0', '0', '0', '1', '2', '5'),
      content: fc.uint8Array({ maxLength: 1500 }),
      linkName: fc.constantFrom('a', 'b'),
      pax: fc.option(fc.constantFrom({ mtime: '1.5' }, { comment: 'x'.repeat(600) }), { nil: undefined }),
    });
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { maxLength: 6 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.constantFrom(0, 1024, 10_240),
        async (entries, pieceBytes, end) => {
          const tar = makeTar(
            entries.map(({ pax, content, ...rest }): MadeEntry => ({
              ...rest,
              ...(pax === undefined ? {} : { pax }),
              ...(rest.type === '0' ? { content } : {}),
            })),
            Buffer.alloc(end),
          );
          let apart: Laid;
          try {
            apart = await lay(tar, false, pieceBytes);
          } catch (error) {
            await assert.rejects(lay(tar, true, pieceBytes), (other) => String(other) === String(error));
            return;
          }
          taken += 1;
          const shared = await lay(tar, true, pieceBytes);
          const again = await lay(tar, true, pieceBytes, shared);
          for (const one of [shared, again]) {
            assert.deepEqual(contents(one), contents(apart));
            assert.ok(one.tarSplit.equals(apart.tarSplit));
            endsWithZeros(one);
          }
          assert.ok(shared.disk.bytes.subarray(BLOCK_BYTES, BLOCK_BYTES + tar.length).equals(tar));
          assert.ok(shared.sharedBytes <= tar.length);
        },
      ),
      { numRuns: 300 },
    );
    assert.ok(taken > 100, `most tars must be valid ones, ${taken} were`);
  });

  it('keeps the room of its files, but for those with something behind their end', async () => {
    const tar = makeTar([
      { name: 'clean', content: 'c'.repeat(700) },
      { name: 'dirty', content: 'd'.repeat(600) },
      { name: 'whole', content: 'w'.repeat(512) },
      { name: 'empty', content: '' },
    ]);
    // Header, 700 bytes in two blocks, header, 600 bytes in two blocks: the padding of the second.
    tar.fill('!', 512 + 1024 + 512 + 600, 512 + 1024 + 512 + 1024);
    const { files, disk, sharedBytes } = await lay(tar, true);
    assert.equal(files.get('clean')?.at, BLOCK_BYTES + 512);
    assert.equal(files.get('whole')?.at, BLOCK_BYTES + 512 + 1024 + 512 + 1024 + 512);
    assert.equal(files.get('dirty')?.at, BLOCK_BYTES + tar.length, 'a copy behind the tar');
    assert.equal(files.get('dirty')?.content.toString(), 'd'.repeat(600));
    endsWithZeros({ files, disk, sharedBytes, tarSplit: Buffer.alloc(0) });
    assert.equal(disk.bytes.length, BLOCK_BYTES + tar.length + 1024);
    assert.equal(sharedBytes, 1024 + 512);
  });

  it('has a copy of files with holes, and of one that ends with the tar', async () => {
    const data = Buffer.concat([Buffer.alloc(300, 's'), Buffer.alloc(400, 't')]);
    const sparse = makeTar([
      {
        name: 'GNUSparseFile.0/x',
        content: data,
        pax: {
          'GNU.sparse.name': 'sparse',
          'GNU.sparse.size': '9000',
          'GNU.sparse.numblocks': '2',
          'GNU.sparse.map': '4096,300,5000,400',
        },
      },
    ]);
    const expected = Buffer.alloc(9000);
    data.copy(expected, 4096, 0, 300);
    data.copy(expected, 5000, 300);
    const laid = await lay(sparse, true);
    assert.ok(laid.files.get('sparse')?.content.equals(expected));
    // Some writers leave out the padding of the last entry, and the end.
    const cut = makeTar([{ name: 'cut', content: 'x'.repeat(700) }]).subarray(0, 512 + 700);
    const short = await lay(cut, true);
    assert.equal(short.files.get('cut')?.content.toString(), 'x'.repeat(700));
    endsWithZeros(short);
  });
});
