import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { MANIFEST_NAME, readManifest } from '../../agent/disk/manifest.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import { makeScratch, removeScratch, scratch } from '../support/temp-tree.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const minimal = { formatVersion: '1.0', createdBy: 'docker-preloader 0.1.0', images: [], layers: [], metadata: {} };

function readText(text: string): ReturnType<typeof readManifest> {
  const folder = makeScratch();
  try {
    writeFileSync(path.join(folder, MANIFEST_NAME), text);
    return readManifest(new FolderReader(folder));
  } finally {
    removeScratch(folder);
  }
}

describe('a manifest', () => {
  it('is read, with what is left out filled in, and its digest', () => {
    const text = JSON.stringify(minimal);
    assert.deepEqual(readText(text), { manifest: { ...minimal, priority: 0, bases: [] }, digest: sha256(text) });
  });

  it('of a newer minor version is read, with what it has more', () => {
    const found = readText(
      JSON.stringify({
        ...minimal,
        formatVersion: '1.7',
        priority: -3,
        more: [1],
        images: [{ id: digest, references: ['a:1'], layers: [digest], also: 1 }],
      }),
    );
    assert.equal(found?.manifest.priority, -3);
    assert.equal(found.manifest.images[0]?.id, digest);
  });

  it('of a newer major version is refused, whatever else it holds', () => {
    for (const formatVersion of ['2.0', '10.0', '999999.1']) {
      assert.throws(() => readText(JSON.stringify({ formatVersion, images: 'what?' })), {
        code: 'FORMAT_NEWER',
        message: `docker-preloader.json: expected format 1, found ${formatVersion}: a newer docker-preloader is needed`,
      });
    }
  });

  it('that is not there is none', (t) => assert.equal(readManifest(new FolderReader(scratch(t))), undefined));

  for (const [text, says] of [
    ['', /docker-preloader\.json: .*JSON/],
    ['[]', /`formatVersion`: expected major\.minor, found nothing/],
    ['{"formatVersion":1}', /`formatVersion`: expected major\.minor, found 1/],
    ['{"formatVersion":"1"}', /`formatVersion`: expected major\.minor, found "1"/],
    ['{"formatVersion":"1.0\\n"}', /`formatVersion`: expected major\.minor/],
    ['{"formatVersion":"-1.0"}', /`formatVersion`: expected major\.minor/],
    ['{"formatVersion":"1.0"}', /`createdBy`: expected string, found nothing/],
    [JSON.stringify({ ...minimal, priority: 1.5 }), /`priority`: expected int, found 1\.5/],
    [JSON.stringify({ ...minimal, images: {} }), /`images`: expected array, found \{\}/],
    [
      JSON.stringify({ ...minimal, images: [{ id: 'x', references: [], layers: [] }] }),
      /`images\.0\.id`: expected a sha256 digest, found "x"/,
    ],
    [
      JSON.stringify({ ...minimal, layers: [{ chainId: digest, diffId: digest, cacheId: 7, sizeBytes: 1 }] }),
      /`layers\.0\.cacheId`: expected string, found 7/,
    ],
    [
      JSON.stringify({ ...minimal, metadata: { '\u001b[2J': 'no digest' } }),
      /`metadata\.\\x1b\[2J`: expected a sha256 digest/,
    ],
    [
      JSON.stringify({ ...minimal, bases: [{ label: 'x', manifest: digest, layers: ['../..'] }] }),
      /`bases\.0\.layers\.0`: expected a sha256 digest/,
    ],
    [`{"formatVersion":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, /docker-preloader\.json: /],
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 90))} is refused, naming the key`, () =>
      assert.throws(() => readText(text), { code: 'MANIFEST_INVALID', message: says }));
  }

  for (const [is, make] of [
    ['a symlink', (file: string) => symlinkSync('/etc/passwd', file)],
    ['a folder', (file: string) => mkdirSync(file)],
    [
      '10 GB of nothing',
      (file: string) => {
        writeFileSync(file, '');
        truncateSync(file, 10e9);
      },
    ],
  ] as const) {
    it(`that is ${is} is refused: the disk is not one without manifest`, (t) => {
      const folder = scratch(t);
      make(path.join(folder, MANIFEST_NAME));
      assert.throws(() => readManifest(new FolderReader(folder)), {
        code: 'MANIFEST_INVALID',
        message: /docker-preloader\.json: expected (a regular file|at most 33554432 bytes)/,
      });
    });
  }

  it('is read or refused by name, whatever it is', () => {
    const near = fc.record(
      {
        formatVersion: fc.oneof(fc.constant('1.0'), fc.jsonValue()),
        createdBy: fc.oneof(fc.constant('x'), fc.jsonValue()),
        images: fc.jsonValue(),
        layers: fc.jsonValue(),
        metadata: fc.jsonValue(),
        bases: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          near.map((value) => JSON.stringify(value)),
        ),
        (text) => {
          try {
            readText(text);
          } catch (error) {
            assert.ok(error instanceof Error && 'code' in error);
            assert.match(String(error.code), /^(MANIFEST_INVALID|FORMAT_NEWER)$/);
            // oxlint-disable-next-line no-control-regex -- none may be left
            assert.doesNotMatch(error.message, /[\u0000-\u001f\u007f-\u009f]/);
          }
        },
      ),
    );
  });
});
