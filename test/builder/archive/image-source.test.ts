import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { parseArchiveArgument } from '../../../agent/builder/archive/archive-argument.ts';
import { describeSource, parseImageSource } from '../../../agent/builder/archive/image-source.ts';
import { scratch } from '../../support/temp-tree.ts';

const DIGEST = `sha256:${'1a'.repeat(32)}`;

describe('a source as skopeo names it', () => {
  const registry = (repository: string, tag?: string, digest?: string): object => ({
    kind: 'registry',
    repository,
    tag,
    digest,
  });
  for (const [text, expected] of [
    ['docker://app', registry('app', 'latest')],
    ['docker://app:1', registry('app', '1')],
    ['docker://docker.io/library/app:1', registry('app', '1')],
    ['docker://registry.example:5000/team/app', registry('registry.example:5000/team/app', 'latest')],
    [`docker://app@${DIGEST}`, registry('app', undefined, DIGEST)],
    [`docker://localhost:5000/app:1@${DIGEST}`, registry('localhost:5000/app', '1', DIGEST)],
    ['docker-daemon:app', { kind: 'store', store: 'docker', text: 'app:latest', reference: 'app:latest' }],
    [`docker-daemon:${DIGEST}`, { kind: 'store', store: 'docker', text: DIGEST, reference: undefined }],
    [
      'containers-storage:[vfs@/a+/b:x=y]localhost/app:1',
      {
        kind: 'store',
        store: 'containers',
        text: 'containers-storage:[vfs@/a+/b:x=y]localhost/app:1',
        reference: 'localhost/app:1',
      },
    ],
    [
      `containers-storage:@${'1a'.repeat(32)}`,
      { kind: 'store', store: 'containers', text: `containers-storage:@${'1a'.repeat(32)}`, reference: undefined },
    ],
    ['app.tar', undefined],
    ['docker:app', undefined],
  ] as const)
    it(`is read: ${text}`, () => assert.deepEqual(parseImageSource(text), expected));

  for (const [text, message] of [
    ['docker://', /expected a name as in NAME:TAG, found ''/],
    ['docker://App:1', /expected a name as in NAME:TAG, found 'App:1'/],
    ['docker://app:1@sha256:12', /expected a name/],
    [
      'docker://me:secret@host/app:1',
      /^expected a name as in docker:\/\/HOST\/NAME:TAG, found a user before the host(?!.*secret)/,
    ],
    ['docker://me:secret@host:5000', /found a user before the host(?!.*secret)/],
    ['docker://me:sec/ret@host/app:1', /found a user before the host(?!.*ret@)/],
    [`docker://me:sec/ret@host/app@${DIGEST}`, /found a user before the host(?!.*ret@)/],
    ['docker-daemon:', /expected a name/],
  ] as const)
    it(`is refused: ${text}`, () => assert.throws(() => parseImageSource(text), { message }));

  it('is told without the digest that it has beside its tag', () => {
    const told = [`docker://app:1@${DIGEST}`, `docker://app@${DIGEST}`, 'docker-daemon:app'].map((text) => {
      const source = parseImageSource(text);
      return source && describeSource(source);
    });
    assert.deepEqual(told, ['docker://app:1', `docker://app@${DIGEST}`, 'docker-daemon:app:latest']);
  });
});

describe('an argument of build', () => {
  for (const text of ['https://me:secret@host/app:1', 'Docker://me:secret@host/app:1=app:2'])
    it(`is refused, without telling it, where it is another address: ${text}`, () =>
      assert.throws(() => parseArchiveArgument(text), {
        message: 'expected a file, or an image of a registry as in docker://HOST/NAME:TAG, found another address',
      }));

  it('is a source or a file, each with a name', (t) => {
    const folder = scratch(t);
    const at = (name: string): string => path.join(folder, name);
    for (const name of ['layout', 'oci']) mkdirSync(at(name));
    const short = (text: string): unknown => {
      const { path: found, source, image, name } = parseArchiveArgument(text);
      return [found, source?.kind, image, name && `${name.repository}:${name.tag ?? ''}`];
    };
    assert.deepEqual(short('docker://app:1=other:2'), ['docker://app:1', 'registry', undefined, 'other:2']);
    assert.deepEqual(short('docker://app:1=other'), ['docker://app:1', 'registry', undefined, 'other:']);
    assert.deepEqual(short(`oci:${at('layout')}:v1=other:2`), [at('layout'), undefined, 'v1', 'other:2']);
    assert.deepEqual(short(`oci-archive:${at('layout')}`), [at('layout'), undefined, undefined, undefined]);
    // What is there goes first.
    assert.deepEqual(short(`${at('oci')}:v1`), [at('oci'), undefined, 'v1', undefined]);
    assert.deepEqual(short('containers-storage:[vfs@/a:x=y]app:1'), [
      'containers-storage:[vfs@/a:x=y]app:1',
      'store',
      undefined,
      undefined,
    ]);
  });
});
