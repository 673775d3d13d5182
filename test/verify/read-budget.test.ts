import assert from 'node:assert/strict';
import { copyFileSync, globSync, linkSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { inspectDisk } from '../../agent/verify/inspect-disk.ts';
import { layerProblem } from '../../agent/verify/layer-content.ts';
import { checkTarSplitSize } from '../../agent/builder/check-limits.ts';
import { ReadBudget } from '../../agent/verify/read-budget.ts';
import { readSparseMap } from '../../agent/builder/tar/sparse.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { readDisk } from '../../agent/disk/read-disk.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { digestOf, savedArchive } from '../builder/archive/archives.ts';
import { makeTar } from '../builder/tar/make-tar.ts';

const TB = 1e12;
const layer = makeTar([{ name: 'file', content: 'hello' }]);

/** A disk's files while it is mounted to be changed. */
interface Opened {
  readonly file: string;
  readonly tarSplit: string;
  readonly at: (name: string) => string;
}

const records = (tarSplit: string): string => gunzipSync(readFileSync(tarSplit)).toString();
const empty = (file: string, bytes: number): void => {
  writeFileSync(file, '');
  truncateSync(file, bytes);
};

const cases: readonly { readonly claims: string; readonly change: (disk: Opened) => void; readonly says: RegExp }[] = [
  {
    claims: 'a file of 8 TB',
    change: ({ file }) => truncateSync(file, 8 * TB),
    says: /'file': expected 5 bytes, found 8000000000000/,
  },
  {
    claims: 'a file of 8 TB, and a tar-split that agrees',
    change: ({ file, tarSplit }) => {
      truncateSync(file, 8 * TB);
      writeFileSync(tarSplit, gzipSync(records(tarSplit).replace('"size":5', `"size":${8 * TB}`)));
    },
    says: /expected contents of at most 1032 times the disk's \d+ bytes, found more/,
  },
  {
    claims: 'many names of one file of holes',
    change: ({ file, tarSplit }) => {
      truncateSync(file, 300e6);
      const names = Array.from({ length: 200 }, (_, index) => `name-${index}`);
      for (const name of names) linkSync(file, path.join(path.dirname(file), name));
      writeFileSync(
        tarSplit,
        gzipSync(
          names
            .map((name, position) => `${JSON.stringify({ type: 1, name, size: 300e6, payload: '', position })}\n`)
            .join(''),
        ),
      );
    },
    says: /expected contents of at most 1032 times the disk's \d+ bytes, found more/,
  },
  {
    claims: 'a tar-split of 8 TB',
    change: ({ tarSplit }) => empty(tarSplit, 8 * TB),
    says: /tar-split\.json\.gz: expected at most 1073741824 bytes, found 8000000000000/,
  },
  {
    claims: 'a tar-split with a line without end',
    change: ({ tarSplit }) => writeFileSync(tarSplit, gzipSync(Buffer.alloc(80e6, ' '))),
    says: /lines of at most 67108864 bytes, found a longer one/,
  },
  {
    claims: 'names of 8 TB',
    change: ({ at }) => empty(at('image/overlay2/repositories.json'), 8 * TB),
    says: /repositories\.json: expected at most 8388608 bytes, found 8000000000000/,
  },
  {
    claims: 'a configuration of 8 TB',
    change: ({ at }) => empty(globSync(at('image/overlay2/imagedb/content/sha256/*'))[0] ?? '', 8 * TB),
    says: /expected at most 8388608 bytes, found 8000000000000/,
  },
  {
    claims: 'a manifest of 8 TB',
    change: ({ at }) => empty(at('docker-preloader.json'), 8 * TB),
    says: /docker-preloader\.json: expected at most 33554432 bytes, found 8000000000000/,
  },
];

describe('a disk of some 400 kB that claims', () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  before(async () => {
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    tree = await tempTree('dpl-claims');
    writeFileSync(at('claims.tar'), savedArchive([{ tags: ['claims:1'], layers: [layer] }]));
    const { exitCode, all } = await agent(['build', at('claims.tar'), '-o', at('claims.ext4'), '--format', 'raw']);
    assert.equal(exitCode, 0, all);
    mkdirSync(at('mounted'));
  });
  after(cleanUpAll);

  for (const [index, { claims, change, says }] of cases.entries()) {
    it(`${claims} is told of it, and not read`, async () => {
      const disk = at(`${index}.ext4`);
      copyFileSync(at('claims.ext4'), disk);
      await execa('mount', ['-o', 'loop', disk, at('mounted')]);
      const [file = ''] = globSync(at('mounted/overlay2/*/diff/file'));
      const tarSplit = at(`mounted/image/overlay2/layerdb/sha256/${digestOf(layer)}/tar-split.json.gz`);
      try {
        change({ file, tarSplit, at: (name) => at(`mounted/${name}`) });
        // As `verify` reads the mounted disk. What is no fault of the layer's content is one of the disk's, which its
        // reader tells.
        const problem = await layerProblem(
          {
            diffID: `sha256:${digestOf(layer)}`,
            tarSplitPath: tarSplit,
            diffPath: path.dirname(file),
            budget: new ReadBudget(400_000),
          },
          () => undefined,
        );
        if (claims.includes('file') || claims.includes('tar-split'))
          assert.match(problem ?? '', /'file': expected 5 bytes|at most 1032 times|a longer one/);
      } finally {
        await execa('umount', [at('mounted')]);
        await letGo(disk);
      }
      const inspected = await inspectDisk(disk, { deep: true }).then(
        ({ problems }) => problems.join('\n'),
        (error: Error) => error.message,
      );
      assert.match(inspected, says);
    });
  }

  /**
   * A mount namespace that somebody has made meanwhile holds the disk, too: it is written out when the last one lets
   * go.
   */
  async function letGo(disk: string): Promise<void> {
    for (let tries = 0; (await execa('losetup', ['--associated', disk])).stdout !== '' && tries < 500; tries += 1)
      await delay(20);
  }

  it("what the agent leaves out is found by inspect, in the agent's words", async () => {
    const disk = at('limits.ext4');
    copyFileSync(at('claims.ext4'), disk);
    await execa('mount', ['-o', 'loop', disk, at('mounted')]);
    const tarSplit = at(`mounted/image/overlay2/layerdb/sha256/${digestOf(layer)}/tar-split.json.gz`);
    empty(tarSplit, 2 ** 30 + 1);
    const found = readDisk('dpl', new FolderReader(at('mounted'))).findings.map(({ message }) =>
      message.replace('disk dpl: ', ''),
    );
    await execa('umount', [at('mounted')]);
    assert.ok(found.length > 0);
    const { problems } = await inspectDisk(disk, { deep: false });
    for (const message of found) assert.ok(problems.includes(message), `${message}\n${problems.join('\n')}`);
    assert.throws(
      () => checkTarSplitSize(2 ** 30 + 1),
      /expected a tar-split of at most 1073741824 bytes, found one of 1073741825: split this layer into several/,
    );
  });

  it('is no disk where it is a fifo: nothing waits for its other end', async () => {
    await execa('mkfifo', [at('fifo')]);
    const { exitCode, stderr } = await agent(['inspect', at('fifo')]);
    assert.equal(exitCode, 1, stderr);
    assert.match(stderr, /expected a file or a block device, found something else/);
  });

  it('is made of no more than its filesystem holds', async () => {
    for (const [filesystem, blobs, bytes, says] of [
      ['erofs', 'none', 17 * 2 ** 40, /expected at most 16 TiB on a disk of this filesystem, found more/],
      ['erofs', 'keep', 17 * 2 ** 40, /expected at most 2 TiB on a disk of this filesystem, found more/],
      ['ext4', 'keep', 17 * 2 ** 40, /expected at most 1 TiB on a disk of this filesystem, found more/],
    ] as const) {
      const map = Buffer.alloc(512);
      map.write('0\n');
      const pax = {
        'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
        'GNU.sparse.name': 'holes',
        'GNU.sparse.realsize': String(bytes),
      };
      writeFileSync(
        at('large.tar'),
        savedArchive([{ tags: ['large:1'], layers: [makeTar([{ name: 'made-up', content: map, pax }])] }]),
      );
      const { exitCode, stderr } = await agent([
        'build',
        at('large.tar'),
        '-o',
        at('large.qcow2'),
        '--filesystem',
        filesystem,
        '--blobs',
        blobs,
        '--quiet',
      ]);
      assert.equal(exitCode, 1, stderr);
      assert.match(stderr, says);
      assert.equal(stderr.trim().split('\n').length, 1, stderr);
    }
  });

  it('reads a sparse map piece by piece, however long it is', { timeout: 60_000 }, async () => {
    const count = 200_000;
    const lines = [`${count}`, ...Array.from({ length: count }, (_, index) => `${index * 1024}\n0`)];
    const text = `${lines.join('\n')}\n`;
    const map = Buffer.alloc((text.length + 511) & -512);
    map.write(text);
    let position = 0;
    const { fragments, mapBytes } = await readSparseMap(
      '1.0',
      new Map([['GNU.sparse.realsize', String(count * 1024)]]),
      map.length,
      (length) => Promise.resolve(map.subarray(position, (position += length))),
    );
    assert.deepEqual([fragments.length, mapBytes, position], [count, map.length, map.length]);
  });
});
