import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { farmLinks, namespaceOffer, type OfferedDisk } from '../../agent/containerd/namespace-offer.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import { diskOf, farm } from './made-up.ts';

const all = { isUsers: () => false, beyond: new Map() };
const one = sha256('one');

/** A disk with one image of one layer, whose bytes it has. */
function withBlob(label: string, sizeBytes: number, { rank = 0, pinned = false } = {}): OfferedDisk {
  const disk = diskOf(label, [{ layers: ['one'], names: [`${label}:1`] }], rank);
  const targets = disk.targets.map((target) => ({
    ...target,
    isMade: false,
    layers: target.layers.map((layer) => ({
      ...layer,
      descriptor: { ...layer.descriptor, sizeBytes },
      blobPath: `/disks/${label}/blobs/sha256/one`,
    })),
  }));
  return { ...disk, content: { ...disk.content, pinned }, targets };
}

describe('what the disks offer', () => {
  it('has a blob of the disk that the layer is of, too: by rank, and of a pinned one first', () => {
    for (const [disks, expected] of [
      [[withBlob('dpl-a', 5, { rank: 1 }), withBlob('dpl-b', 5)], 'dpl-a'],
      [[withBlob('dpl-a', 5), withBlob('dpl-b', 5, { rank: 1 })], 'dpl-b'],
      [[withBlob('dpl-a', 5, { rank: 1 }), withBlob('dpl-b', 5, { pinned: true })], 'dpl-b'],
      [[withBlob('dpl-a', 5, { pinned: true }), withBlob('dpl-b', 5, { rank: 1 })], 'dpl-a'],
    ] as const) {
      const links = farmLinks(farm, disks);
      assert.equal(links.get(farm.blob(one)), `/disks/${expected}/blobs/sha256/one`);
      assert.match([...links.values()].join(' '), new RegExp(`/disks/${expected}/sha256`));
    }
  });

  it('leaves out a blob of which a disk with precedence has a file of another size, and names both', () => {
    const { names, findings } = namespaceOffer([withBlob('dpl-a', 5, { rank: 1 }), withBlob('dpl-b', 6)], 'moby', all);
    assert.deepEqual(
      findings.map(({ code, label, message }) => [code, label, message]),
      [
        [
          'LAYER_INVALID',
          'dpl-b',
          "disk dpl-b: a layer's blob is left out: /disks/dpl-b/blobs/sha256/one: expected 5 bytes, as in /disks/dpl-a/blobs/sha256/one, found 6",
        ],
      ],
    );
    assert.deepEqual(
      [...names].map(([name, { image }]) => [name, image.parts.layers[0]?.blobPath !== undefined]),
      [
        ['docker.io/library/dpl-b:1', false],
        ['docker.io/library/dpl-a:1', true],
      ],
    );
  });

  it('takes no longer for an image with ten thousand names and as many manifests', () => {
    const names = Array.from({ length: 5000 }, (_, number) => [
      `app-${number}:1`,
      `app-${number}@${sha256(`${number}`)}`,
    ]);
    const disk = diskOf('dpl-a', [{ layers: ['one'], names: names.flat() }]);
    const [made] = disk.targets;
    assert.ok(made);
    const targets = names.map(([name = '', digest = '']) => ({
      ...made,
      isMade: false,
      references: [name],
      target: { ...made.target, digest: digest.split('@')[1] ?? '' },
    }));
    const begin = performance.now();
    const offer = namespaceOffer([{ ...disk, targets }], 'moby', all);
    // Each tag tells its digest, too.
    assert.equal(offer.names.size, 5000);
    assert.ok(performance.now() - begin < 2000, `${performance.now() - begin} ms`);
  });
});
