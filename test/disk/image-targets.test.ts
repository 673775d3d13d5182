import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { readImageTargets } from '../../agent/disk/image-targets.ts';
import type { Manifest, ManifestTarget } from '../../agent/disk/manifest.ts';
import type { DiskContent } from '../../agent/disk/read-disk.ts';
import { asDiffID, asImageID, hexOf, sha256, type DiffID, type ImageID } from '../../agent/docker/ids.ts';
import { parseImageConfig } from '../../agent/docker/image-config.ts';
import { makeImageManifest, type Descriptor } from '../../agent/docker/image-manifest.ts';

const must = <Value>(value: Value | undefined): Value => {
  assert.ok(value !== undefined);
  return value;
};
const diffIDs: readonly DiffID[] = ['base', 'top'].map((text) => must(asDiffID(sha256(text))));
const config = Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: diffIDs } }));
const id: ImageID = must(asImageID(sha256(config)));
const CAPACITY = 1000;
const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const blobs: readonly Buffer[] = [Buffer.from('base, compressed'), Buffer.from('top, compressed')];
const layers: readonly Descriptor[] = blobs.map((bytes) => ({
  mediaType: GZIP,
  digest: sha256(bytes),
  sizeBytes: bytes.length,
}));
const { descriptor: manifest, bytes: manifestBytes } = makeImageManifest(config, layers);
const indexBytes = Buffer.from(JSON.stringify({ manifests: [{ digest: manifest.digest }] }));
const index: Descriptor = { mediaType: INDEX, digest: sha256(indexBytes), sizeBytes: indexBytes.length };
const manifestFile = (digest: string): string => `manifests/sha256/${hexOf(digest)}`;
const blobFileOf = (bytes: Buffer): string => `blobs/sha256/${hexOf(sha256(bytes))}`;

interface Made {
  readonly files: Map<string, Buffer>;
  targets: ManifestTarget[] | undefined;
  blobs: Manifest['blobs'];
}

function made(): Made {
  return {
    files: new Map([
      [manifestFile(manifest.digest), manifestBytes],
      [manifestFile(index.digest), indexBytes],
      ...blobs.map((bytes) => [blobFileOf(bytes), bytes] as const),
    ]),
    targets: [{ references: ['app:1'], path: [index, manifest] }],
    blobs: layers.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
  };
}

/** @param told is told of each file that is read, with how many bytes it may have */
function read(
  { files, targets, blobs: listed }: Made,
  told: (path: string, limitBytes: number) => void = () => undefined,
): ReturnType<typeof readImageTargets> {
  const image = parseImageConfig(config, id);
  const content: DiskContent = {
    label: 'dpl-a',
    manifest: {
      formatVersion: '1.1',
      createdBy: 'test',
      priority: 0,
      images: [{ id, references: ['app:1'], layers: image.chains, ...(targets === undefined ? {} : { targets }) }],
      layers: [],
      ...(listed === undefined ? {} : { blobs: listed }),
      metadata: {},
      bases: [],
    },
    manifestDigest: undefined,
    pinned: false,
    images: new Map([[id, { ...image, label: 'dpl-a', config, metadata: new Map() }]]),
    layers: new Map(),
    references: new Map([
      ['app:1', id],
      [`app@${index.digest}`, id],
    ]),
    findings: [],
  };
  return readImageTargets(content, {
    pathOf: (path) => `/disk/${path}`,
    capacity: () => CAPACITY,
    sizeOf: (path) => files.get(path)?.length,
    read: (path, limitBytes) => {
      told(path, limitBytes);
      const bytes = files.get(path);
      if (bytes !== undefined && bytes.length > limitBytes) throw new Error(`${path}: too large`);
      return bytes;
    },
  });
}

describe("what a disk's images are in containerd's store", () => {
  it("is the registry's: index, manifest, layers with their blobs, and the tags that lead there", () => {
    const { targets, findings } = read(made());
    assert.deepEqual(findings, []);
    assert.equal(targets.length, 1);
    const [target] = targets;
    assert.deepEqual(
      {
        image: target?.image,
        references: target?.references,
        target: target?.target,
        isMade: target?.isMade,
        manifests: target?.manifests.map(({ descriptor, bytes }) => [descriptor.digest, sha256(bytes)]),
        config: [target?.config.digest, target?.config.sizeBytes],
        layers: target?.layers.map(({ diffID, descriptor, blobPath }) => [diffID, descriptor, blobPath]),
      },
      {
        image: id,
        references: ['app:1'],
        target: index,
        isMade: false,
        manifests: [
          [index.digest, index.digest],
          [manifest.digest, manifest.digest],
        ],
        config: [id, config.length],
        layers: blobs.map((bytes, number) => [diffIDs[number], layers[number], `/disk/${blobFileOf(bytes)}`]),
      },
    );
  });

  it('is made where a disk is of an older format, with the same digest each time', () => {
    const [first] = read({ files: new Map(), targets: undefined, blobs: undefined }).targets;
    const [again] = read({ files: new Map(), targets: undefined, blobs: undefined }).targets;
    assert.equal(first?.isMade, true);
    assert.deepEqual(first?.references, ['app:1']);
    assert.equal(first?.target.digest, again?.target.digest);
    assert.deepEqual(
      first?.layers.map(({ descriptor, blobPath }) => [descriptor.digest, blobPath]),
      diffIDs.map((diffID) => [diffID, undefined]),
    );
  });

  for (const { is, spoil, says } of [
    {
      is: 'is missing',
      spoil: ({ files }: Made) => void files.delete(blobFileOf(must(blobs[0]))),
      says: /expected 16 bytes, found no such file/,
    },
    {
      is: 'is empty, as its descriptor says',
      spoil: (disk: Made) => {
        const nothing = Buffer.alloc(0);
        const bytes = makeImageManifest(config, [
          { mediaType: GZIP, digest: sha256(nothing), sizeBytes: 0 },
          must(layers[1]),
        ]);
        disk.files.set(manifestFile(bytes.descriptor.digest), bytes.bytes);
        disk.files.set(blobFileOf(nothing), nothing);
        disk.targets = [{ references: ['app:1'], path: [bytes.descriptor] }];
        disk.blobs = [{ digest: sha256(nothing), sizeBytes: 0 }, ...(disk.blobs ?? [])];
      },
      says: /expected some bytes, found 0$/,
    },
    {
      is: 'is larger than the disk',
      spoil: (disk: Made) => {
        const holes = Buffer.alloc(CAPACITY + 1);
        const { descriptor, bytes } = makeImageManifest(config, [
          { mediaType: GZIP, digest: sha256(holes), sizeBytes: holes.length },
          must(layers[1]),
        ]);
        disk.files.set(manifestFile(descriptor.digest), bytes);
        disk.files.set(blobFileOf(holes), holes);
        disk.targets = [{ references: ['app:1'], path: [descriptor] }];
        disk.blobs = [{ digest: sha256(holes), sizeBytes: holes.length }, ...(disk.blobs ?? [])];
      },
      says: /expected at most 1000 bytes, as the disk has, found 1001$/,
    },
    {
      is: 'is shorter than its descriptor says',
      spoil: ({ files }: Made) => void files.set(blobFileOf(must(blobs[0])), Buffer.from('b')),
      says: /expected 16 bytes, found 1$/,
    },
    {
      is: 'is listed with another size',
      spoil: (disk: Made) =>
        (disk.blobs = layers.map(({ digest }) => ({ digest, sizeBytes: digest === layers[0]?.digest ? 5 : 15 }))),
      says: /expected 16 bytes, found 16$/,
    },
  ]) {
    it(`lacks a blob that ${is}, and nothing else`, () => {
      const disk = made();
      spoil(disk);
      const { targets, findings } = read(disk);
      assert.equal(findings.length, 1);
      assert.equal(findings[0]?.code, 'LAYER_INVALID');
      assert.match(findings[0]?.message ?? '', says);
      assert.deepEqual(
        targets[0]?.layers.map(({ blobPath }) => blobPath !== undefined),
        [false, true],
      );
      assert.equal(targets[0]?.isMade, false);
    });
  }

  it('has no blob that the manifest does not list, and no finding for it', () => {
    const { targets, findings } = read({ ...made(), blobs: [] });
    assert.deepEqual(findings, []);
    assert.ok(targets[0]?.layers.every(({ blobPath }) => blobPath === undefined));
  });

  const other = Buffer.from('{}');
  const oneLayer = makeImageManifest(config, layers.slice(0, 1));
  const ofOther = makeImageManifest(other, layers);
  const empty = Buffer.from('{"manifests":[]}');
  const put = (disk: Made, bytes: Buffer, mediaType: string): Descriptor => {
    disk.files.set(manifestFile(sha256(bytes)), bytes);
    return { mediaType, digest: sha256(bytes), sizeBytes: bytes.length };
  };
  const path = (disk: Made, ...descriptors: readonly Descriptor[]): void => {
    disk.targets = [{ references: ['app:1'], path: descriptors }];
  };
  for (const { is, spoil, says } of [
    {
      is: 'is not there',
      spoil: ({ files }: Made) => void files.delete(manifestFile(manifest.digest)),
      says: /expected a file, found none/,
    },
    {
      is: 'has other bytes',
      spoil: ({ files }: Made) => void files.set(manifestFile(manifest.digest), Buffer.alloc(manifest.sizeBytes)),
      says: /expected content with digest/,
    },
    {
      is: 'has another size',
      spoil: ({ files }: Made) => void files.set(manifestFile(manifest.digest), other),
      says: /bytes, found 2$/,
    },
    { is: 'is none', spoil: (disk: Made) => path(disk), says: /expected a manifest, found none/ },
    {
      is: 'is of another image',
      spoil: (disk: Made) => path(disk, put(disk, ofOther.bytes, manifest.mediaType)),
      says: /expected the manifest of the image/,
    },
    {
      is: 'has fewer layers',
      spoil: (disk: Made) => path(disk, put(disk, oneLayer.bytes, manifest.mediaType)),
      says: /expected 2 layers, as in the configuration, found 1/,
    },
    {
      is: 'is no JSON',
      spoil: (disk: Made) => path(disk, put(disk, Buffer.from('{'), manifest.mediaType)),
      says: /JSON/,
    },
    {
      is: 'is not in the index',
      spoil: (disk: Made) => path(disk, put(disk, empty, INDEX), manifest),
      says: /expected an index with sha256:/,
    },
    {
      is: 'calls itself an index',
      spoil: (disk: Made) => path(disk, { ...manifest, mediaType: INDEX }),
      says: /expected a manifest, found the media type/,
    },
    {
      is: 'is too deep below indexes',
      spoil: (disk: Made) => path(disk, index, index, index, index, index, manifest),
      says: /expected at most 4 indexes, found 5/,
    },
  ]) {
    it(`is made anew where the manifest ${is}, and says so`, () => {
      const disk = made();
      spoil(disk);
      const { targets, findings } = read(disk);
      assert.deepEqual(
        findings.map(({ code, image }) => [code, image]),
        [['IMAGE_INVALID', id]],
      );
      assert.match(findings[0]?.message ?? '', says);
      assert.deepEqual([targets.length, targets[0]?.isMade, targets[0]?.references], [1, true, ['app:1']]);
    });
  }

  it('has each name once, and none that the disk does not have', () => {
    const disk = made();
    disk.targets = [
      { references: ['other:1'], path: [index, manifest] },
      { references: ['app:1', 'app:1'], path: [manifest] },
      { references: ['app:1'], path: [index, manifest] },
    ];
    assert.deepEqual(
      read(disk).targets.map(({ references, target }) => [references, target.digest]),
      [
        [[], index.digest],
        [['app:1'], manifest.digest],
        [[], index.digest],
      ],
    );
  });

  describe('with as many as fit into what is read of a manifest', () => {
    const many = (count: number, of: (number: number) => ManifestTarget): Made => {
      const disk = made();
      disk.targets = Array.from({ length: count }, (_, number) => of(number));
      return disk;
    };
    const reads = (
      disk: Made,
    ): { readonly count: number; readonly bytes: number; readonly found: ReturnType<typeof read> } => {
      let [count, bytes] = [0, 0];
      const found = read(disk, (_, limitBytes) => {
        count += 1;
        bytes += limitBytes;
      });
      return { count, bytes, found };
    };

    it('reads a manifest once that all of them name, and says few times what is wrong with it', () => {
      const bytes = Buffer.alloc(4_000_000, '[');
      for (const digest of [sha256(bytes), sha256('another')]) {
        const descriptor = { ...manifest, digest, sizeBytes: bytes.length };
        const disk = many(100_000, () => ({ references: ['app:1'], path: [descriptor] }));
        disk.files.set(manifestFile(digest), bytes);
        const { count, found } = reads(disk);
        assert.equal(count, 1);
        assert.ok(found.findings.length <= 50, String(found.findings.length));
        assert.deepEqual(
          found.targets.map(({ isMade, references }) => [isMade, references]),
          [[true, ['app:1']]],
        );
      }
    });

    it('reads no more than 32 MiB of manifests that are holes, whatever they claim', () => {
      const { bytes } = reads(
        many(100_000, (number) => ({
          references: [],
          path: [
            { ...manifest, digest: sha256(`hole ${number}`), sizeBytes: number % 2 === 0 ? 4_000_000 : 5_000_000 },
          ],
        })),
      );
      assert.ok(bytes <= 32 * 1024 * 1024, String(bytes));
    });

    it('takes ten thousand, and says that there are more', () => {
      const { found } = reads(many(100_000, () => ({ references: [], path: [index, manifest] })));
      assert.equal(found.targets.length, 10_000);
      assert.match(
        found.findings[0]?.message ?? '',
        /expected at most 10000 manifests on a disk, found more; they are left/,
      );
      assert.equal(found.findings.length, 1);
    });
  });

  it('is read of any bytes without an error, and never names a blob that is not there', () => {
    const names = [...made().files.keys()];
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        fc.nat(),
        (name, bytes, place) => {
          const disk = made();
          const changed = Buffer.concat([disk.files.get(name) ?? Buffer.alloc(0)]);
          // All of the file, or a part of it.
          if (place % 2 === 0) disk.files.set(name, Buffer.from(bytes));
          else {
            Buffer.from(bytes).copy(changed, place % (changed.length + 1));
            disk.files.set(name, changed);
          }
          const { targets } = read(disk);
          assert.deepEqual(
            targets.map(({ references }) => references),
            [['app:1']],
          );
          for (const { descriptor, blobPath } of targets[0]?.layers ?? [])
            if (blobPath !== undefined)
              assert.equal(disk.files.get(blobPath.slice('/disk/'.length))?.length, descriptor.sizeBytes);
        },
      ),
    );
  });
});
