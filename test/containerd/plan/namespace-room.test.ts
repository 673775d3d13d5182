import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { imagesBeyond, needOf, type ContainerdRoom } from '../../../agent/containerd/plan/namespace-room.ts';
import type { NamespacePlan } from '../../../agent/containerd/plan/plan-namespace.ts';
import { fits } from '../../../agent/overlay2/plan/room.ts';
import fc from '../../support/properties.ts';
import { FakeNamespace } from '../fake-namespace.ts';
import { diskOf } from '../made-up.ts';

const roomOf = (bytes: number, inodes = 1_000_000): ContainerdRoom => ({ path: '/containerd', bytes, inodes });
const images = ['one', 'two', 'three'].map((name, index) => ({
  layers: Array.from({ length: index + 1 }, (_, number) => `${name} ${number}`),
  names: [`${name}:1`],
}));
const disks = [diskOf('dpl-a', images)];

/** What is planned, once what there is no room for is left out. */
function fitted(namespace: FakeNamespace, room: ContainerdRoom): NamespacePlan {
  const plan = namespace.plan(disks);
  return namespace.plan(disks, { beyond: imagesBeyond(plan, room) });
}

describe("room for the disks' images in containerd's store", () => {
  it('is what the rest is within, whatever is left; the smallest come first, and each of the others is named', () => {
    const all = needOf(new FakeNamespace().plan(disks).steps);
    fc.assert(
      fc.property(fc.nat(all.bytes + 10_000), fc.nat(all.inodes + 5), (bytes, inodes) => {
        const room = roomOf(bytes, inodes);
        const { steps, findings, wanted } = fitted(new FakeNamespace(), room);
        assert.ok(fits(needOf(steps), room) || steps.length === 0);
        assert.equal(wanted.size + findings.filter(({ code }) => code === 'STORE_FULL').length, images.length);
        const sizes = [...wanted.values()].map(({ image }) => image.chains.length).toSorted((a, b) => a - b);
        assert.deepEqual(sizes, [1, 2, 3].slice(0, sizes.length));
      }),
    );
  });

  it('is enough for all with as much as all need', () => {
    const { steps } = new FakeNamespace().plan(disks);
    const { bytes, inodes } = needOf(steps);
    assert.equal(imagesBeyond(new FakeNamespace().plan(disks), roomOf(bytes, inodes)).size, 0);
    assert.equal(imagesBeyond(new FakeNamespace().plan(disks), roomOf(bytes - 1, inodes)).size, 1);
    assert.equal(imagesBeyond(new FakeNamespace().plan(disks), roomOf(bytes, inodes - 1)).size, 1);
  });

  it('is not asked for what is there, which is not taken away', () => {
    const namespace = new FakeNamespace();
    namespace.run([diskOf('dpl-a', images.slice(0, 2))]);
    const before = namespace.names();
    const { steps, findings } = fitted(namespace, roomOf(-1));
    assert.deepEqual(steps, []);
    assert.deepEqual(
      findings.map(({ code, image }) => [code, image]),
      [
        ['STORE_FULL', 'three:1'],
        ['LAYERS_UNLINKED', undefined],
      ],
    );
    assert.match(
      findings[0]?.message ?? '',
      /^disk dpl-a: image three:1 is left out of namespace moby of containerd: expected \d+ kB free in \/containerd, found 0 kB beside what is kept for containers; free some, then run: docker-preloader apply --only containerd$/,
    );
    assert.deepEqual(namespace.names(), before);
  });
});
