import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { scratch } from '../support/temp-tree.ts';

/**
 * A disk with a file, an empty file, and symlinks within it and out of it; beside it a file that is none of its own.
 */
function disk(t: TestContext): FolderReader {
  const folder = scratch(t);
  const root = path.join(folder, 'disk');
  mkdirSync(path.join(root, 'a/b'), { recursive: true });
  mkdirSync(path.join(folder, 'outside/b'), { recursive: true });
  for (const place of ['disk/a/b', 'outside/b', 'outside']) writeFileSync(path.join(folder, place, 'file'), 'secret');
  writeFileSync(Buffer.concat([Buffer.from(`${root}/a/`), Buffer.from([0xff])]), 'no UTF-8');
  mkdirSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xe9])]));
  symlinkSync('a', path.join(root, 'within'));
  symlinkSync('../outside', path.join(root, 'out'));
  symlinkSync('../../outside/file', path.join(root, 'a/link'));
  symlinkSync(root, path.join(folder, 'link-to-disk'));
  execFileSync('mkfifo', [path.join(root, 'a/fifo')]);
  return new FolderReader(path.join(folder, 'link-to-disk'));
}

describe('a folder with the files of a disk', () => {
  for (const name of ['a/b/file', './a/b/file', 'a/./b/file', '/a/b/file', 'a//b/file', '//a/b//file'])
    it(`has ${name}`, (t) => {
      const files = disk(t);
      assert.equal(files.kindOf(name), 'file');
      assert.equal(files.sizeOf(name), 6);
      assert.equal(files.read(name, 6)?.toString(), 'secret');
      assert.equal(Buffer.concat([...files.pieces(name, 2, 5)]).toString(), 'cre');
    });

  for (const name of [
    'nothing',
    'nothing/file',
    'a/b/file/below',
    'out/file',
    'out//file',
    'out/./file',
    '/out/file',
    'out/b/file',
    'out//b//file',
    'within/b/file',
    'within//b/file',
    '../outside/file',
    '/../outside/file',
    'a/../../outside/file',
    'a/../a/b/file',
    '..',
    'a/..',
  ])
    it(`has no ${name}: nothing outside of it is looked for, and no symlink is followed`, (t) => {
      const files = disk(t);
      assert.equal(files.kindOf(name), undefined);
      assert.equal(files.sizeOf(name), undefined);
      assert.equal(files.read(name, 100), undefined);
      assert.deepEqual(files.list(name), []);
      assert.deepEqual(files.subfolders(name), []);
      assert.throws(() => [...files.pieces(name)], /expected a regular file, found none/);
    });

  for (const name of ['', '.', '/', './/.', 'a', 'a/', '/a/b/.'])
    it(`has the folder '${name}'`, (t) => {
      const files = disk(t);
      assert.equal(files.kindOf(name), 'folder');
      assert.throws(() => files.read(name, 100), /expected a regular file, found something else/);
    });

  for (const name of ['out', 'within', 'a/link', 'a/fifo'])
    it(`has ${name}, which is no file and no folder`, (t) => {
      const files = disk(t);
      assert.equal(files.kindOf(name), 'other');
      assert.deepEqual(files.list(name), []);
      for (const read of [() => files.sizeOf(name), () => files.read(name, 100), () => [...files.pieces(name)]])
        assert.throws(read, new RegExp(`/${name}: expected a regular file, found (something else|a symlink)$`));
    });

  it('lists names, whatever bytes they are of, and which of them are folders', (t) => {
    const files = disk(t);
    assert.deepEqual(files.list(''), ['a', 'out', 'within', '\u00e9']);
    assert.deepEqual(files.subfolders('.').toSorted(), ['a', '\u00e9']);
    assert.deepEqual(files.list('a'), ['b', 'fifo', 'link', '\u00ff']);
    assert.equal(files.read('a/\u00ff', 100)?.toString(), 'no UTF-8');
    assert.equal(files.kindOf('\u00e9'), 'folder');
  });

  it('is that of one filesystem: what is mounted in it is none of the disk', (t) => {
    const folder = scratch(t);
    mkdirSync(path.join(folder, 'a/mounted'), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', path.join(folder, 'a/mounted')]);
    try {
      writeFileSync(path.join(folder, 'a/mounted/file'), 'of another');
      const files = new FolderReader(folder);
      assert.equal(files.kindOf('a/mounted'), 'other');
      assert.equal(files.read('a/mounted/file', 100), undefined);
      assert.equal(files.sizeOf('a/mounted/file'), undefined);
      assert.deepEqual(files.list('a/mounted'), []);
    } finally {
      execFileSync('umount', [path.join(folder, 'a/mounted')]);
    }
  });

  it('reads no more than is asked for', (t) => {
    assert.throws(() => disk(t).read('a/b/file', 5), /a\/b\/file: expected at most 5 bytes, found 6$/);
  });
});
