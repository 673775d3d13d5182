import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { parseArchiveArgument } from '../../../agent/builder/archive/archive-argument.ts';
import { readSourceList } from '../../../agent/builder/source/source-list.ts';
import {
  checkLocked,
  lockedArgument,
  lockedName,
  readLock,
  writeLock,
} from '../../../agent/builder/source/source-lock.ts';
import { agent } from '../../support/agent.ts';
import { dockerArchive } from '../../support/docker-archive.ts';
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

  it('may have the marks of Windows and tabs, and ten thousand lines that say the same', (t) => {
    const list = path.join(scratch(t), 'list');
    writeFileSync(list, `\uFEFF# ours\r\n\tdocker://app:1\t#\tthe app\r\n \t \r\n${'docker://app:1\n'.repeat(10_000)}`);
    const sources = readSourceList(list);
    assert.equal(sources.length, 10_001);
    assert.deepEqual([...new Set(sources)], ['docker://app:1']);
    writeFileSync(list, '\uFEFFdocker://app:1');
    assert.deepEqual(readSourceList(list), ['docker://app:1']);
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

const archive = { names: ['a:1'], digests: [DIGEST] };

describe('a lock', () => {
  const taken = [
    { source: 'docker://b:1', digest: DIGEST, images: [ID], archive: undefined },
    { source: 'a.tar', digest: undefined, images: [ID], archive },
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
    // The images of one archive are told apart.
    const [first, second] = ['v1', 'v2'].map((tag) => parseArchiveArgument(`${path.dirname(file)}:${tag}=x:${tag}`));
    assert.ok(first !== undefined && second !== undefined);
    assert.deepEqual([lockedName(first), lockedName(second)], [`${path.dirname(file)}:v1`, `${path.dirname(file)}:v2`]);
    assert.throws(() => checkLocked(lock, [{ source: 'a.tar', digest: undefined, images: [DIGEST], archive }]), {
      message: `a.tar: expected ${ID}, as in ${file}, found ${DIGEST}: remove that file to lock all sources anew`,
    });
  });

  it('holds an archive also to its names, and to the forms of its layers', (t) => {
    const file = path.join(scratch(t), 'lock');
    writeLock(readLock(file), taken);
    for (const [other, expected, found] of [
      [{ ...archive, names: ['a:2'] }, 'a:1', 'a:2'],
      [{ ...archive, digests: [] }, DIGEST, 'none'],
      [undefined, 'a:1', 'none'],
    ] as const)
      assert.throws(
        () => checkLocked(readLock(file), [{ source: 'a.tar', digest: undefined, images: [ID], archive: other }]),
        {
          message: `a.tar: expected ${expected}, as in ${file}, found ${found}: remove that file to lock all sources anew`,
        },
      );
  });

  it('of something else than the digest that was asked for, or of none, is refused', (t) => {
    const file = path.join(scratch(t), 'lock');
    const asked = `docker://b:1@${ID}`;
    writeLock({ path: file, sources: undefined }, [
      { source: asked, digest: DIGEST, images: [ID], archive: undefined },
      { source: 'docker://b:1', digest: undefined, images: [ID], archive },
    ]);
    assert.throws(() => lockedArgument(parseArchiveArgument(asked), readLock(file)), {
      message: `${file}: expected ${ID} for ${asked}, found ${DIGEST}: remove the file to lock all sources anew`,
    });
    assert.throws(() => lockedArgument(parseArchiveArgument('docker://b:1'), readLock(file)), {
      message: `${file}: expected a digest for docker://b:1, found none: remove the file to lock all sources anew`,
    });
  });

  it('is not made of a source that was two things, and not over one of another build', (t) => {
    const file = path.join(scratch(t), 'lock');
    const lock = readLock(file);
    const moved = { source: 'docker://b:1', digest: ID, images: [ID], archive: undefined };
    assert.throws(() => checkLocked(lock, [...taken, moved]), {
      message: `docker://b:1: expected the same each time that it is taken, found ${DIGEST}, then ${ID}: it has just been changed, build again`,
    });
    writeLock(lock, taken);
    writeLock(lock, taken);
    const before = readFileSync(file);
    assert.throws(() => writeLock(lock, [moved]), {
      message: `docker://b:1: expected ${DIGEST}, as in ${file}, found ${ID}: remove that file to lock all sources anew`,
    });
    assert.deepEqual(readFileSync(file), before);
  });

  it('is never written over the disk, and its name is one that can be written', async (t) => {
    const folder = scratch(t);
    const at = (name: string): string => path.join(folder, name);
    writeFileSync(at('app.tar'), await dockerArchive([{ tags: ['app:1'], layers: [[{ name: 'a' }]] }]));
    const long = at('x'.repeat(250));
    for (const [output, lock, line] of [
      [at('disk'), at('disk'), /expected an output that is none of the inputs, found the file of --lock/],
      [at('disk'), `${folder}/./disk`, /expected an output that is none of the inputs, found the file of --lock/],
      [`${at('disk')}.docker-preloader`, at('disk'), /expected an output that is none of the inputs, found the file/],
      [at('disk'), '', /--lock: expected the name of a file, found ''/],
      [at('disk'), at('lock/'), /--lock: expected the name of a file, found/],
      [at('disk'), long, /--lock: nothing can be written in the folder \S+: a name that is too long/],
    ] as const) {
      const { exitCode, stderr } = await agent(['build', '--quiet', at('app.tar'), '-o', output, '--lock', lock]);
      assert.notEqual(exitCode, 0);
      assert.match(stderr, line);
      assert.deepEqual(readdirSync(folder), ['app.tar']);
    }
  });

  it('and a disk are whole where several builds of the same make them at once, and nothing else is left', async (t) => {
    const folder = scratch(t);
    const at = (name: string): string => path.join(folder, name);
    writeFileSync(at('app.tar'), await dockerArchive([{ tags: ['app:1'], layers: [[{ name: 'a' }]] }]));
    const args = ['build', '--quiet', at('app.tar'), '-o', at('disk.qcow2'), '--lock', at('lock')];
    for (const { exitCode, all } of await Promise.all([agent(args), agent(args), agent(args)]))
      assert.equal(exitCode, 0, all);
    assert.equal(readLock(at('lock')).sources?.size, 1);
    assert.equal((await agent(['inspect', '--deep', at('disk.qcow2')])).exitCode, 0);
    assert.deepEqual(readdirSync(folder).toSorted(), ['app.tar', 'disk.qcow2', 'lock']);
  });

  for (const [what, make] of [
    ['empty', (file: string) => writeFileSync(file, '')],
    ['cut off', (file: string) => writeFileSync(file, '{"lockVersion":1,"sources":[')],
    ['of a later version', (file: string) => writeFileSync(file, '{"lockVersion":2,"sources":[]}')],
    [
      'with no digest',
      (file: string) => writeFileSync(file, '{"lockVersion":1,"sources":[{"source":"a","images":["x"]}]}'),
    ],
    [
      'of one source twice',
      (file: string) =>
        writeFileSync(file, JSON.stringify({ lockVersion: 1, sources: [taken[0], { ...taken[0], images: [] }] })),
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
