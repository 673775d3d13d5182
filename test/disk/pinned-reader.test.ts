import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { readPinnedDisk } from '../../agent/disk/pinned-reader.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { factsOf, loadImages, must, writeFile, type ImageSpec } from '../boot/fake-store.ts';
import { scratch } from '../support/temp-tree.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'], source: 'docker.io/library/app' };
const tool: ImageSpec = { layers: ['base', 'tool'], references: ['tool:1'] };
const facts = factsOf(app);
const at = metadataPaths('');
const top = at.layer(must(facts.chains[1]));
const config = at.image(facts.id);

/** A disk as `build` makes it: its manifest lists all metadata. @returns the manifest's digest */
function makePinned(root: string): string {
  loadImages(root, [app, tool], 'pinned');
  const files = readdirSync(path.join(root, 'image'), { recursive: true, withFileTypes: true }).flatMap((entry) =>
    entry.isFile() ? [path.relative(root, path.join(entry.parentPath, entry.name))] : [],
  );
  const layers = [
    ...new Map(
      [app, tool].flatMap((spec) => {
        const { chains, diffIDs } = factsOf(spec);
        return chains.map(
          (chain, index) =>
            [
              chain,
              {
                chainId: chain,
                diffId: must(diffIDs[index]),
                ...(index === 0 ? {} : { parent: must(chains[index - 1]) }),
                cacheId: readFileSync(path.join(root, at.layer(chain), 'cache-id'), 'utf8'),
                sizeBytes: Number(readFileSync(path.join(root, at.layer(chain), 'size'), 'utf8')),
              },
            ] as const,
        );
      }),
    ).values(),
  ];
  const manifest = JSON.stringify({
    formatVersion: '1.0',
    createdBy: 'test',
    images: [app, tool].map((spec) => ({
      id: factsOf(spec).id,
      references: spec.references ?? [],
      layers: factsOf(spec).chains,
    })),
    layers,
    metadata: Object.fromEntries(files.map((file) => [file, sha256(readFileSync(path.join(root, file)))])),
  });
  writeFile(path.join(root, 'docker-preloader.json'), manifest);
  return sha256(manifest);
}

describe('a disk whose manifest is pinned', () => {
  const pinned = (t: Parameters<typeof scratch>[0]): { readonly root: string; readonly digest: string } => {
    const root = path.join(scratch(t), 'disk');
    return { root, digest: makePinned(root) };
  };

  it('is read whole, and its tar-splits have the digests by which they are compared when they are copied', (t) => {
    const { root, digest } = pinned(t);
    const content = readPinnedDisk('dpl-a', root, [`sha256:${'0'.repeat(64)}`, digest]);
    assert.deepEqual(content.findings, []);
    assert.deepEqual(
      [content.pinned, content.images.size, content.layers.size, [...content.references.keys()].toSorted()],
      [true, 2, 3, ['app:1', 'tool:1']],
    );
    for (const { tarSplit } of content.layers.values())
      assert.equal(tarSplit?.digest, sha256(readFileSync(tarSplit?.path ?? '')));
  });

  it('is refused where that is another, and nothing else of it is read', (t) => {
    const { root, digest } = pinned(t);
    rmSync(path.join(root, 'image'), { recursive: true });
    assert.throws(() => readPinnedDisk('dpl-a', root, [`sha256:${'0'.repeat(64)}`]), {
      code: 'DISK_CONTENT',
      message: `expected a manifest with digest sha256:${'0'.repeat(64)}, found ${digest}`,
    });
  });

  for (const [is, spoil, says] of [
    [
      'other bytes in repositories.json',
      (root: string) => writeFileSync(path.join(root, at.repositories), '{"Repositories":{}}'),
      /^image\/overlay2\/repositories\.json: expected content with digest sha256:\w{64}, as the manifest has it, found sha256:\w{64}$/,
    ],
    [
      'no repositories.json',
      (root: string) => rmSync(path.join(root, at.repositories)),
      /^image\/overlay2\/repositories\.json: expected content with digest .*, found no such file$/,
    ],
    [
      'a symlink for it',
      (root: string) => {
        rmSync(path.join(root, at.repositories));
        symlinkSync('../../docker-preloader.json', path.join(root, at.repositories));
      },
      /expected a regular file, found a symlink$/,
    ],
    [
      'an image less',
      (root: string) => rmSync(path.join(root, config)),
      /^expected image sha256:\w{64}, which the manifest lists, found none that can be used$/,
    ],
    [
      'an image more',
      (root: string) => loadImages(root, [{ layers: ['evil'] }], 'evil'),
      /: expected a file that the manifest lists, found one that it does not$/,
    ],
    [
      'metadata more',
      (root: string) => writeFile(path.join(root, at.imageMetadata(facts.id), 'parent'), factsOf(tool).id),
      /parent: expected a file that the manifest lists/,
    ],
    [
      'metadata of another time',
      (root: string) =>
        writeFileSync(path.join(root, at.imageMetadata(facts.id), 'lastUpdated'), '2027-01-02T03:04:05Z'),
      /lastUpdated: expected content with digest/,
    ],
    [
      'other registry sources',
      (root: string) => writeFileSync(path.join(root, at.metadataByDiffID(must(facts.diffIDs[0]))), '[]'),
      /v2metadata-by-diffid\/sha256\/\w{64}: expected content with digest/,
    ],
    [
      'no registry sources at all',
      (root: string) =>
        rmSync(path.dirname(path.join(root, at.metadataByDiffID(must(facts.diffIDs[0])))), { recursive: true }),
      /v2metadata-by-diffid\/sha256: expected a folder with files that the manifest lists, found none$/,
    ],
    [
      'no tar-split',
      (root: string) => rmSync(path.join(root, top, 'tar-split.json.gz')),
      /tar-split\.json\.gz: expected content with digest .*, found no such file$/,
    ],
    [
      'no record of a layer',
      (root: string) => rmSync(path.join(root, top), { recursive: true }),
      /^expected layer sha256:\w{64}, which the manifest lists, found none that can be used$/,
    ],
    [
      'no folder of a layer',
      (root: string) =>
        rmSync(path.join(root, 'overlay2', readFileSync(path.join(root, top, 'cache-id'), 'utf8')), {
          recursive: true,
        }),
      /^expected layer sha256:\w{64}, which the manifest lists/,
    ],
  ] as const) {
    it(`costs itself with ${is}`, (t) => {
      const { root, digest } = pinned(t);
      spoil(root);
      assert.throws(() => readPinnedDisk('dpl-a', root, [digest]), { code: 'DISK_CONTENT', message: says });
    });
  }
});
