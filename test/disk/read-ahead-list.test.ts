import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseReadAhead, piecesWithin, sizeOfList } from '../../agent/disk/read-ahead-list.ts';

const chainId = `sha256:${'a'.repeat(64)}`;

function listOf(path: unknown, pieces: unknown = [{ offset: 0, length: 1 }]): string {
  return JSON.stringify({ formatVersion: '1.0', layers: [{ chainId, files: [{ path, pieces }] }] });
}

describe('a list of what to read ahead', () => {
  for (const path of ['a', 'a/b', '.a', '..a/b', 'a/...', 'a b\n', 'é/ü']) {
    it(`has ${JSON.stringify(path)} as a path`, () =>
      assert.deepEqual(sizeOfList(parseReadAhead(listOf(path), 'list')), { files: 1, bytes: 1 }));
  }

  for (const path of ['', '/', '/a', 'a/', 'a//b', '.', '..', '../a', 'a/..', 'a/../b', './a', 'a/.', 'a\0', 1, null]) {
    it(`does not have ${JSON.stringify(path)}`, () =>
      assert.throws(
        () => parseReadAhead(listOf(path), 'list'),
        /^Error: list: expected a list that docker-preloader record printed: `layers\.0\.files\.0\.path`: expected /,
      ));
  }

  for (const [is, json, expected] of [
    ['empty', '', /JSON/],
    ['no JSON', 'list', /JSON/],
    ['an array', '[]', /`formatVersion`/],
    ['without a version', '{"layers":[]}', /`formatVersion`: expected major\.minor, found nothing/],
    ['of a newer format', '{"formatVersion":"9.0","layers":[]}', /expected format 1, found 9\.0/],
    ['without layers', '{"formatVersion":"1.0"}', /`layers`: expected array, found nothing/],
    [
      'of a layer that is no digest',
      '{"formatVersion":"1.0","layers":[{"chainId":"a","files":[]}]}',
      /`layers\.0\.chainId`: expected a sha256 digest/,
    ],
    [
      'with an offset of half a byte',
      listOf('a', [{ offset: 0.5, length: 1 }]),
      /`layers\.0\.files\.0\.pieces\.0\.offset`: expected int, found 0\.5/,
    ],
    [
      'with a length that is a text',
      listOf('a', [{ offset: 0, length: '1' }]),
      /pieces\.0\.length`: expected number, found "1"/,
    ],
    [
      'of more files than anybody reads',
      JSON.stringify({
        formatVersion: '1.0',
        layers: [{ chainId, files: Array.from({ length: 40_001 }, () => ({ path: 'a', pieces: [] })) }],
      }),
      /expected at most 40000 files, found 40001/,
    ],
    ['of a version that is a long text', JSON.stringify({ formatVersion: 'x'.repeat(100_000) }), /^Error: [^]{1,300}$/],
    ['very deep', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, /./],
  ] as const) {
    it(`is refused where it is ${is}`, () => assert.throws(() => parseReadAhead(json, 'list'), expected));
  }

  it('counts of a file only what lies within it', () => {
    const max = Number.MAX_SAFE_INTEGER;
    const pieces = [
      [0, 4],
      [2, max],
      [max, max],
      [-5, 7],
      [-5, 5],
      [9, 0],
      [3, -1],
      [10, 1],
      [9, 1],
    ].map(([offset = 0, length = 0]) => ({ offset, length }));
    assert.deepEqual(
      piecesWithin({ path: 'a', pieces }, 10).map(({ offset, length }) => [offset, length]),
      [
        [0, 4],
        [2, 8],
        [0, 2],
        [9, 1],
      ],
    );
  });
});
