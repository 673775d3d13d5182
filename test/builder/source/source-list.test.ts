import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { parseArchiveArgument } from '../../../agent/builder/archive/archive-argument.ts';
import { readSourceList } from '../../../agent/builder/source/source-list.ts';
import { checkLocked, lockedArgument, readLock, writeLock } from '../../../agent/builder/source/source-lock.ts';
import { scratch } from '../../support/temp-tree.ts';

const DIGEST = `sha256:${'1a'.repeat(32)}`;
const ID = `sha256:${'2b'.repeat(32)}`;

describe('a list of sources', () => {
  it('has one a line, with comments and empty lines', (t) => {
    const folder = scratch(t);
    const odd = path.join(folder, 'app #1.tar');
    writeFileSync(odd, '');
    const list = path.join(folder, 'list');
    writeFileSync(
      list,
      `# ours\r\n\r\ndocker://app:1\r\n  docker://db:2=db:2   # the database\n${odd}\n#docker://old:1\n-`,
    );
    assert.deepEqual(readSourceList(list), ['docker://app:1', 'docker://db:2=db:2', odd, '-']);
  });

  for (const [what, make, message] of [
    ['is not there', () => undefined, /list: expected a list of sources, found no such file$/],
    ['is empty', (file: string) => writeFileSync(file, ''), /expected at least one source, one a line, found none$/],
    ['has comments alone', (file: string) => writeFileSync(file, '# none\n'), /expected at least one source/],
    ['is a folder', (file: string) => mkdirSync(file), /expected a regular file/],
    ['is no text', (file: string) => writeFileSync(file, 'QFI\0\0'), /expected a list of sources, found no text$/],
    ['is too large', (file: string) => writeFileSync(file, '#'.repeat(2 ** 20 + 1)), /list: .*1048576/],
  ] as const)
    it(`is refused where it ${what}`, (t) => {
      const list = path.join(scratch(t), 'list');
      make(list);
      assert.throws(() => readSourceList(list), { message });
    });
});

describe('a lock', () => {
  const taken = [
    { source: 'docker://b:1', digest: DIGEST, images: [ID] },
    { source: 'a.tar', digest: undefined, images: [ID] },
  ];

  it('is read as it was written, sorted, and holds registries to digests and archives to images', (t) => {
    const file = path.join(scratch(t), 'lock');
    assert.deepEqual(readLock(file), { path: file, sources: undefined });
    writeLock(readLock(file), taken);
    const text = readFileSync(file, 'utf8');
    assert.ok(text.indexOf('a.tar') < text.indexOf('docker://b:1'));
    const lock = readLock(file);
    assert.deepEqual(lockedArgument(parseArchiveArgument('docker://b:1=c:2'), lock).source, {
      kind: 'registry',
      repository: 'b',
      tag: '1',
      digest: DIGEST,
    });
    assert.throws(() => lockedArgument(parseArchiveArgument('docker://new:1'), lock), {
      message: `${file}: expected the source docker://new:1, found none: remove the file to lock all sources anew`,
    });
    checkLocked(lock, taken);
    assert.throws(() => checkLocked(lock, [{ source: 'a.tar', digest: undefined, images: [DIGEST] }]), {
      message: `a.tar: expected ${ID}, as in ${file}, found ${DIGEST}: remove that file to lock all sources anew`,
    });
  });

  for (const [what, make] of [
    ['empty', (file: string) => writeFileSync(file, '')],
    ['cut off', (file: string) => writeFileSync(file, '{"lockVersion":1,"sources":[')],
    ['of a later version', (file: string) => writeFileSync(file, '{"lockVersion":2,"sources":[]}')],
    [
      'with no digest',
      (file: string) => writeFileSync(file, '{"lockVersion":1,"sources":[{"source":"a","images":["x"]}]}'),
    ],
    ['a folder', (file: string) => mkdirSync(file)],
    ['a symlink', (file: string) => symlinkSync('/etc/hostname', file)],
  ] as const)
    it(`is refused where it is ${what}, and stays as it is`, (t) => {
      const file = path.join(scratch(t), 'lock');
      make(file);
      assert.throws(() => readLock(file), {
        message: /lock: expected a file that build --lock wrote, found another: /,
      });
    });
});
