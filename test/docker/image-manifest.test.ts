import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import {
  layerMediaType,
  makeImageManifest,
  parseImageIndex,
  parseImageManifest,
} from '../../agent/docker/image-manifest.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 5 };
const document = { schemaVersion: 2, config: { ...layer, size: 7 }, layers: [layer] };

describe('image manifests', () => {
  it('are made with the bytes that containerd makes', () => {
    const config = Buffer.from('{}');
    const { bytes, descriptor } = makeImageManifest(config, [
      { mediaType: layerMediaType('none'), digest, sizeBytes: 1024 },
      { mediaType: layerMediaType('gzip'), digest, sizeBytes: 3 },
    ]);
    assert.equal(
      bytes.toString(),
      '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",' +
        `"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"${sha256(config)}","size":2},` +
        `"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","digest":"${digest}","size":1024},` +
        `{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"${digest}","size":3}]}`,
    );
    assert.deepEqual([descriptor.digest, descriptor.sizeBytes], [sha256(bytes), bytes.length]);
  });

  it('are read as they are made, whatever the layers', () => {
    const layers = fc.array(
      fc.record({
        mediaType: fc.constantFrom(layerMediaType('none'), layerMediaType('gzip'), layerMediaType('zstd')),
        digest: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => sha256(Buffer.from(bytes))),
        sizeBytes: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      }),
    );
    fc.assert(
      fc.property(layers, fc.uint8Array(), (expected, config) => {
        const read = parseImageManifest(makeImageManifest(Buffer.from(config), expected).bytes);
        assert.deepEqual(
          read.layers,
          expected.map((one) => ({ ...one })),
        );
        assert.deepEqual([read.config.digest, read.config.sizeBytes], [sha256(Buffer.from(config)), config.length]);
      }),
    );
  });

  for (const [what, value, expected] of [
    ['a list', [], /expected an image manifest, found something else/],
    ['no configuration', { layers: [] }, /`config\.mediaType`: expected a media type/],
    ['layers that are none', { ...document, layers: 7 }, /`layers`: expected an array/],
    ['a digest of another kind', { ...document, layers: [{ ...layer, digest: 'sha512:a' }] }, /`layers\.0\.digest`/],
    ['a negative size', { ...document, layers: [layer, { ...layer, size: -1 }] }, /`layers\.1\.size`/],
    ['a size that is a text', { ...document, config: { ...layer, size: '5' } }, /`config\.size`/],
    ['a long media type', { ...document, layers: [{ ...layer, mediaType: 'x'.repeat(256) }] }, /mediaType/],
  ] as const) {
    it(`are not read with ${what}`, () => {
      assert.throws(() => parseImageManifest(Buffer.from(JSON.stringify(value))), expected);
    });
  }

  it('are found in an index by their digests alone', () => {
    const index = { manifests: [{ digest }, { digest: 'none' }, 7, null] };
    assert.deepEqual([...parseImageIndex(Buffer.from(JSON.stringify(index)))], [digest]);
    assert.throws(() => parseImageIndex(Buffer.from('{}')), /`manifests`: expected an array/);
  });
});
