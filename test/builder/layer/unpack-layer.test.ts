import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import fc from '../../support/properties.ts';
import { assemble } from '../../../agent/verify/assemble-layer.ts';
import { ByteReader } from '../../../agent/streams/byte-reader.ts';
import { unpackLayer, type ContentStore, type UnpackedLayer } from '../../../agent/builder/layer/unpack-layer.ts';
import type { FolderContent } from '../../../agent/disk/filesystem-reader.ts';
import { Spool } from '../../../agent/streams/spool.ts';
import type { InodeTree } from '../../../agent/builder/inodes/inode-tree.ts';
import type { Inode } from '../../../agent/builder/inodes/inode.ts';
import { makeTar, type MadeEntry } from '../tar/make-tar.ts';

/** Keeps contents in memory, each under a number. */
class MemoryStore implements ContentStore {
  readonly contents: Buffer[] = [Buffer.alloc(0)];
  #current: Buffer[] = [];

  begin(): number {
    this.#current = [];
    return this.contents.length;
  }

  append(bytes: Buffer): void {
    this.#current.push(Buffer.from(bytes));
  }

  appendZeros(count: number): void {
    this.#current.push(Buffer.alloc(count));
  }

  end(): void {
    this.contents.push(Buffer.concat(this.#current));
  }

  readBack(): Iterable<Buffer> {
    throw new Error('only for a tar that is on the disk as a whole');
  }
}

async function* pieces(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += length) yield bytes.subarray(offset, offset + length);
}

interface Unpacked extends Omit<UnpackedLayer, 'tarSplit'> {
  readonly tarSplit: Buffer;
  readonly nodes: ReadonlyMap<string, Inode>;
  content(name: string): Buffer;
}

async function unpack(tar: Buffer, pieceBytes = 1000): Promise<Unpacked> {
  const store = new MemoryStore();
  // What is less than 256 KiB needs no file.
  const spool = new Spool(() => '/nowhere/tar-split');
  const layer = await unpackLayer(new ByteReader(pieces(tar, pieceBytes)), store, spool);
  const nodes = nodesOf(layer.tree);
  const content = (name: string): Buffer => {
    const node = nodes.get(name);
    if (node?.kind !== 'file') throw new Error(`expected a file ${name}`);
    return store.contents[node.block] ?? Buffer.alloc(0);
  };
  return { ...layer, tarSplit: Buffer.concat([...layer.tarSplit.pieces()]), nodes, content };
}

/** A tree's inodes by the path of each name. */
function nodesOf(tree: InodeTree): Map<string, Inode> {
  const nodes = new Map([['', tree.inode(tree.root)]]);
  for (const folder of tree.folders(tree.root))
    for (const entry of tree.children(folder)) nodes.set(tree.path(entry), tree.inode(tree.inodeOf(entry)));
  return nodes;
}

async function reassembled(layer: Unpacked): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of assemble([layer.tarSplit], filesOf(layer))) parts.push(part);
  return Buffer.concat(parts);
}

function filesOf(layer: Unpacked): FolderContent {
  return {
    sizeOf: (name) => layer.content(name).length,
    *pieces(name, start, end) {
      yield layer.content(name).subarray(start, end);
    },
  };
}

async function fault(entries: readonly MadeEntry[]): Promise<string> {
  try {
    await unpack(makeTar(entries));
  } catch (error) {
    return (error as Error).message;
  }
  return 'none';
}

describe('layers', () => {
  it('gives any tar back from its tree and tar-split, byte by byte', async () => {
    const name = fc
      .string({ unit: fc.constantFrom('a', 'b', '.', '-', '\xff', 'ä', ' ', '\\', '"'), minLength: 1, maxLength: 130 })
      .filter((text) => text !== '.' && text !== '..');
    const entry = fc.record({
      name: fc.array(name, { minLength: 1, maxLength: 2 }).map((parts) => parts.join('/')),
      type: fc.constantFrom('0', '0', '0', '2', '5', '6'),
      content: fc.uint8Array({ maxLength: 1500 }),
      linkName: name,
      gnu: fc.boolean(),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      mtimeSec: fc.integer({ min: -(2 ** 33), max: 2 ** 34 }),
      pax: fc.option(
        fc.constantFrom({ mtime: '1.5' }, { 'SCHILY.xattr.user.a': 'ä\n=' }, { comment: 'x'.repeat(600) }),
        { nil: undefined },
      ),
    });
    const tails = fc.constantFrom(0, 512, 1024, 10_240).map((length) => Buffer.alloc(length));
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(entry, { maxLength: 6 }),
        tails,
        fc.integer({ min: 1, max: 3000 }),
        async (entries, tail, pieceBytes) => {
          const made = entries.map(({ pax, content, ...rest }) => ({
            ...rest,
            ...(pax === undefined ? {} : { pax }),
            ...(rest.type === '0' ? { content } : {}),
          }));
          const tar = makeTar(made, tail.length === 512 ? Buffer.alloc(1024) : tail);
          let layer: Unpacked;
          try {
            layer = await unpack(tar, pieceBytes);
          } catch (error) {
            // Made-up names collide, and lead through symlinks to nowhere, as dockerd would say, too.
            assert.match((error as Error).message, /expected.*found/);
            return;
          }
          taken += 1;
          assert.ok((await reassembled(layer)).equals(tar));
        },
      ),
      { numRuns: 300 },
    );
    assert.ok(taken > 100, `most tars must be valid ones, ${taken} were`);
  });

  it('expands sparse files and gives their tars back: PAX 0.1 and 1.0', async () => {
    const data = Buffer.alloc(700, 's');
    const expected = Buffer.concat([Buffer.alloc(4096), data, Buffer.alloc(5000 - 4796)]);
    const map = Buffer.alloc(512);
    map.write('1\n4096\n700\n');
    const layers: Readonly<Record<string, Buffer>> = {
      'v0.1': makeTar([
        {
          name: 'GNUSparseFile.0/x',
          content: data,
          pax: {
            'GNU.sparse.name': 'v0.1',
            'GNU.sparse.size': '5000',
            'GNU.sparse.numblocks': '1',
            'GNU.sparse.map': '4096,700',
          },
        },
      ]),
      'v1.0': makeTar([
        {
          name: 'GNUSparseFile.0/x',
          content: Buffer.concat([map, data]),
          pax: {
            'GNU.sparse.major': '1',
            'GNU.sparse.minor': '0',
            'GNU.sparse.name': 'v1.0',
            'GNU.sparse.realsize': '5000',
          },
        },
      ]),
    };
    for (const [name, tar] of Object.entries(layers)) {
      const layer = await unpack(tar);
      assert.ok(layer.content(name).equals(expected), name);
      assert.ok((await reassembled(layer)).equals(tar), name);
      assert.ok(
        !gunzipSync(layer.tarSplit).toString().includes(data.subarray(0, 60).toString('base64')),
        'the payload is not there twice',
      );
    }
  });

  it('makes whiteouts and opaque folders of their names', async () => {
    const { nodes, sizeBytes } = await unpack(
      makeTar([
        { name: '.wh.gone', uid: 1, gid: 2 },
        { name: 'dir/', type: '5' },
        { name: 'dir/.wh..wh..opq' },
        { name: 'dir/.wh..hidden' },
        { name: 'dir/link', type: '2', linkName: 'target' },
      ]),
    );
    assert.deepEqual([...nodes.keys()].sort(), ['', 'dir', 'dir/.hidden', 'dir/link', 'gone']);
    const gone = nodes.get('gone');
    assert.ok(gone?.kind === 'character' && gone.major === 0 && gone.minor === 0 && gone.uid === 1 && gone.mode === 0);
    assert.equal(nodes.get('dir')?.xattrs.get('trusted.overlay.opaque')?.toString(), 'y');
    assert.equal(sizeBytes, 'target'.length);
  });

  it('says which entry is wrong, what was expected and what was found', async () => {
    const cases: readonly (readonly [readonly MadeEntry[], RegExp])[] = [
      [
        [{ name: '../out', content: 'x' }],
        /^entry '\.\.\/out': expected a path below the layer's root, found one that climbs above it$/,
      ],
      [[{ name: 'a/../../out', content: 'x' }], /climbs above/],
      [
        [
          { name: 'a', content: '1' },
          { name: './a', content: '2' },
        ],
        /^entry '\.\/a': expected each name once, found it again$/,
      ],
      [
        [
          { name: 'a', content: '1' },
          { name: '/a', content: '2' },
        ],
        /expected each name once, found one that replaces/,
      ],
      [
        [
          { name: 'a', content: '1' },
          { name: 'a/b', content: '2' },
        ],
        /expected a folder at 'a', found a file/,
      ],
      [
        [{ name: 'h', type: '1', linkName: 'nowhere' }],
        /expected a hard link to a file of the layer, found one to '\/nowhere', which is not there/,
      ],
      [
        [
          { name: 'l', type: '2', linkName: 'l' },
          { name: 'l/x', content: 'x' },
        ],
        /expected at most 40 symlinks on the way, found more/,
      ],
      [[{ name: 'x', type: '7', content: 'x' }], /found the tar type "7"/],
      [[{ name: 'a', content: '1' }, { name: '.wh.a' }], /expected a whiteout of what a layer below has/],
    ];
    for (const [entries, expected] of cases) assert.match(await fault(entries), expected);
    const tar = makeTar([
      { name: 'first', content: 'x' },
      { name: 'second', content: 'y'.repeat(2000) },
    ]);
    await assert.rejects(
      unpack(tar.subarray(0, 2048)),
      /entry 'second': expected 1488 more bytes, found the end of the archive|entry 'second': 2000 more bytes/,
    );
    const corrupt = Buffer.from(tar);
    corrupt.write('corrupt', 1024);
    await assert.rejects(unpack(corrupt), /after entry 'first': expected a tar header with a right checksum/);
  });
});
