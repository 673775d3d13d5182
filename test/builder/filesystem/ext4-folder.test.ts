import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { BlockWriter } from '../../../agent/builder/filesystem/block-writer.ts';
import { ext4 } from '../../../agent/builder/filesystem/ext4.ts';
import { nameHash } from '../../../agent/builder/filesystem/ext4-hash.ts';
import { Spool } from '../../../agent/streams/spool.ts';
import { ownedByRoot } from '../../../agent/builder/inodes/inode.ts';
import { InodeTree } from '../../../agent/builder/inodes/inode-tree.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';

/** As long as a name may be: 15 in a block. */
const long = (name: string): string => name.padEnd(255, '-');

const folders: Readonly<Record<string, readonly string[]>> = {
  'one-block': numbered(10, (index) => `${index}`),
  'two-blocks': numbered(300, (index) => `file-${index}`),
  'not-ascii': numbered(1000, (index) => `\xff\xfe${index}\xe9`),
  long: numbered(600, (index) => long(`${index}`)),
  // More than 508 blocks of names: an index of two levels.
  'two-levels': numbered(8000, (index) => long(`${index}`)),
  collision: acrossBlocks(),
};

function numbered(count: number, name: (index: number) => string): string[] {
  return Array.from({ length: count }, (_, index) => name(index));
}

/** Two names with one hash, of which the first is the last of its block: 256 names of 7 bytes fill one. */
function acrossBlocks(): string[] {
  const names = numbered(200_000, (index) => `c${String(index).padStart(6, '0')}`)
    .map((name) => ({ name, hash: nameHash(Buffer.from(name), name.length) }))
    .sort((a, b) => a.hash - b.hash);
  const first = names.findIndex(({ hash }, index) => index >= 255 && names[index + 1]?.hash === hash);
  assert.ok(first > 0, 'of two hundred thousand names, some have one hash');
  return names.slice(first - 255, first + 10).map(({ name }) => name);
}

describe('folders of ext4 with an index', () => {
  let tree: TempTree;
  let disk = '';
  before(async () => {
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    tree = await tempTree('dpl-index');
    disk = path.join(tree.path, 'index.ext4');
    const file = new BlockWriter(disk, 'raw');
    const filesystem = ext4.open(file, new Spool(() => path.join(tree.path, 'inodes')));
    const content = new InodeTree(ownedByRoot(0o755));
    const add = (name: string, names: readonly string[]): number => {
      const folder = content.add({ kind: 'folder' }, ownedByRoot(0o755));
      content.link(content.root, name, folder);
      for (const one of names)
        content.link(folder, one, content.add({ kind: 'fifo', major: 0, minor: 0 }, ownedByRoot(0o644)));
      return folder;
    };
    content.setIno(add('reserved', []), filesystem.reserved);
    for (const [name, names] of Object.entries(folders)) add(name, names);
    file.finish(filesystem.finish(content, { label: 'dpl-index', uuid: Buffer.alloc(16, 1), sizeBytes: undefined }));
    file.close();
  });
  after(cleanUpAll);

  it('are sound to e2fsck, which knows their hashes', async () => {
    const { exitCode, all } = await execa('e2fsck', ['-fn', disk], { reject: false, all: true });
    assert.equal(exitCode, 0, all);
    const dump = async (folder: string): Promise<string> =>
      (
        await execa('debugfs', ['-R', `htree_dump /${folder}`, disk], {
          reject: false,
          maxBuffer: 2 ** 26,
          env: { DEBUGFS_PAGER: '__none__' },
        })
      ).stdout;
    assert.match(await dump('two-blocks'), /Indirect levels: 0/);
    assert.match(await dump('two-levels'), /Indirect levels: 1/);
    assert.match(
      await dump('collision'),
      /Entry #\d+: Hash 0x[0-9a-f]{7}[13579bdf] \(\*\*\), block/,
      'a hash that two blocks share',
    );
    assert.doesNotMatch(await dump('one-block'), /Indirect levels/);
  });

  it('have each of their names to the kernel, and no other', async () => {
    const mounted = path.join(tree.path, 'mounted');
    mkdirSync(mounted);
    await execa('mount', ['-o', 'loop,ro', disk, mounted]);
    for (const [folder, names] of Object.entries(folders)) {
      const at = (name: string): Buffer => Buffer.from(`${mounted}/${folder}/${name}`, 'latin1');
      assert.deepEqual(readdirSync(at('.'), 'latin1').sort(), [...names].sort());
      for (const name of names)
        assert.ok(lstatSync(at(name), { throwIfNoEntry: false })?.isFIFO(), `${folder}/${name}`);
      for (const name of names.slice(0, 300))
        assert.equal(lstatSync(at(`${name.slice(0, 254)}?`), { throwIfNoEntry: false }), undefined);
    }
  });
});
