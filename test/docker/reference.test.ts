import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseReference, repositoryOf } from '../../agent/docker/reference.ts';

const hex = 'a1'.repeat(32);

describe('a reference', () => {
  const valid: readonly (readonly [repository: string, text: string])[] = [
    ['alpine', 'alpine:3.20'],
    ['alpine', `alpine@sha256:${hex}`],
    ['foo/bar', 'foo/bar:latest'],
    ['ghcr.io/x/y', 'ghcr.io/x/y:v1'],
    ['localhost:5000/x', 'localhost:5000/x:1'],
    ['localhost:5000/x', `localhost:5000/x@sha256:${hex}`],
    ['[2001:db8::1]:5000/x', '[2001:db8::1]:5000/x:1'],
    ['a__b/c-d/e.f', 'a__b/c-d/e.f:_.-'],
    ['x', `x:${'t'.repeat(128)}`],
    ['Registry.Example/x', 'Registry.Example/x:1'],
  ];
  for (const [repository, text] of valid) {
    it(`${text} is taken, of ${repository}`, () => {
      assert.deepEqual(parseReference(repository, text), { repository, text });
      assert.equal(repositoryOf(text), repository);
    });
  }

  const invalid: readonly (readonly [repository: string, text: string, why: string])[] = [
    ['alpine', 'alpine', 'no tag'],
    ['alpine', 'alpine:', 'an empty tag'],
    ['alpine', 'debian:12', 'of another repository'],
    ['alpine', 'alpine2:1', 'of another repository that begins the same'],
    ['alpine', `alpine:1@sha256:${hex}`, 'a tag and a digest'],
    ['alpine', `alpine@sha512:${hex}`, 'another digest'],
    ['alpine', 'alpine@sha256:abc', 'a short digest'],
    ['Alpine', 'Alpine:1', 'upper case'],
    ['sha256', 'sha256:1', 'refused by dockerd'],
    ['', ':1', 'empty'],
    ['a//b', 'a//b:1', 'an empty component'],
    ['../etc', '../etc:1', 'a climb'],
    ['a/../b', 'a/../b:1', 'a climb in between'],
    ['a', 'a:.b', 'a tag that begins with a dot'],
    ['a', 'a:b\n', 'a line break at the end'],
    ['a\n', 'a\n:b', 'a line break in the name'],
    ['a', 'a:\u001b[2J', 'a terminal escape'],
    ['__proto__', '__proto__:1', 'a name of JavaScript'],
    ['x', `x:${'t'.repeat(129)}`, 'a long tag'],
    [`${'n'.repeat(256)}`, `${'n'.repeat(256)}:1`, 'a long name'],
  ];
  for (const [repository, text, why] of invalid) {
    it(`${JSON.stringify(text.slice(0, 40))} is not: ${why}`, () =>
      assert.equal(parseReference(repository, text), undefined));
  }

  it('is parsed in a time that does not explode', () => {
    const start = performance.now();
    for (const text of [
      'a-'.repeat(120),
      'a.'.repeat(120),
      `${'a'.repeat(250)}!`,
      `${'a/'.repeat(120)}!`,
      `${'-a'.repeat(120)}`,
    ])
      parseReference(text, `${text}:1`);
    assert.ok(performance.now() - start < 1000);
  });
});
