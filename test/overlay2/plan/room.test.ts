import assert from 'node:assert/strict';
import { mkdirSync, statfsSync, symlinkSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { execa } from 'execa';
import fc from '../../support/properties.ts';
import { imagesBeyond } from '../../../agent/overlay2/plan/beyond.ts';
import { readLedger } from '../../../agent/overlay2/store/ledger.ts';
import { plan, type PlanInput } from '../../../agent/overlay2/plan/make-plan.ts';
import { fits, needOf, roomIn, type Room } from '../../../agent/overlay2/plan/room.ts';
import { FolderReader } from '../../../agent/disk/folder-reader.ts';
import { readDisk } from '../../../agent/disk/read-disk.ts';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { Store } from '../../../agent/overlay2/store/store.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { mountNew } from '../../support/filesystem.ts';
import { makeScratch, removeScratch, scratch, tempTree } from '../../support/temp-tree.ts';
import { FakeGuest } from '../../boot/fake-guest.ts';
import { factsOf, loadImages, must, type ImageSpec } from '../../boot/fake-store.ts';

const MB = 1024 * 1024;
after(cleanUpAll);

describe('what a plan needs', () => {
  for (const { is, specs } of [
    { is: 'one layer', specs: [{ layers: ['one'], references: ['one:1'] }] },
    {
      is: '125 layers, whose `lower` grow',
      specs: [
        {
          layers: Array.from({ length: 125 }, (_, index) => `layer ${index}`),
          references: ['deep:1'],
          source: 'docker.io/library/deep',
        },
      ],
    },
    {
      is: '300 images',
      specs: Array.from({ length: 300 }, (_, index): ImageSpec => ({
        layers: ['base', `top ${index}`],
        references: [`image-${index}:1`, `other-${index}:2`],
        source: `registry.example/${index}`,
      })),
    },
  ] satisfies readonly { readonly is: string; readonly specs: readonly ImageSpec[] }[]) {
    it(`is what it writes to an ext4, or more: ${is}`, async (t) => {
      const { path: folder } = await tempTree('dpl-room');
      const file = path.join(folder, 'file.ext4');
      const mountPoint = path.join(folder, 'guest');
      mkdirSync(mountPoint);
      await mountNew(file, 128 * MB, ['mke2fs', '-q', '-t', 'ext4', '-b', '4096', '-O', '^has_journal'], mountPoint);
      const guest = new FakeGuest(mountPoint);
      guest.attach('dpl-a', specs);
      const free = (): { readonly bytes: number; readonly inodes: number } => {
        const { bfree, bsize, ffree } = statfsSync(mountPoint);
        return { bytes: bfree * bsize, inodes: ffree };
      };
      await execa('sync', ['--file-system', mountPoint]);
      const before = free();
      const { steps } = guest.boot();
      await execa('sync', ['--file-system', mountPoint]);
      const written = { bytes: before.bytes - free().bytes, inodes: before.inodes - free().inodes };
      const need = needOf(steps);
      t.diagnostic(`${written.bytes} of ${need.bytes} bytes, ${written.inodes} of ${need.inodes} inodes`);
      assert.ok(
        written.bytes <= need.bytes && need.bytes < 2 * written.bytes,
        `${written.bytes} bytes written, ${need.bytes} needed`,
      );
      assert.ok(
        written.inodes <= need.inodes && need.inodes < 2 * written.inodes,
        `${written.inodes} inodes made, ${need.inodes} needed`,
      );
    });
  }
});

describe('where there is not room for all', () => {
  const sized = fc.array(fc.integer({ min: 1, max: 3_000_000 }), { minLength: 1, maxLength: 8 });

  it('images are left out until the rest fits, and no more than it takes', () => {
    fc.assert(
      fc.property(sized, fc.integer({ min: 0, max: 12_000_000 }), (sizes, bytes) => {
        const folder = makeScratch();
        try {
          const { input, planned } = offer(folder, sizes);
          const room = { bytes, inodes: 10_000 };
          const needed = (beyond: NonNullable<PlanInput['beyond']>): ReturnType<typeof needOf> =>
            needOf(plan({ ...input, beyond }).steps);
          const beyond = imagesBeyond(planned, room, input.store);
          if (fits(needed(new Map()), room)) assert.equal(beyond.size, 0);
          if (beyond.size < planned.wanted.size)
            assert.ok(fits(needed(beyond), room), `${needed(beyond).bytes} bytes needed, ${bytes} there`);
          // One more, and it is too much; but for names that are written or not.
          for (const id of beyond.keys())
            assert.ok(
              !fits(needed(new Map([...beyond].filter(([other]) => other !== id))), {
                ...room,
                bytes: bytes - 32 * 1024,
              }),
            );
        } finally {
          removeScratch(folder);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('the smallest are taken, and before them what is there already', (t) => {
    const guest = new FakeGuest(scratch(t));
    const [old, little, large] = ['old', 'little', 'large'].map((name): ImageSpec => ({
      layers: [name],
      references: [`${name}:1`],
    }));
    guest.attach('dpl-a', [must(old)]);
    guest.boot();
    guest.attach('dpl-a', [must(old), must(little), must(large)], { salt: 'new' });
    grow(guest.diskPath('dpl-a'), must(old), 2 * MB);
    grow(guest.diskPath('dpl-a'), must(large), MB);
    const planned = guest.plan();
    const beyond = imagesBeyond(planned, { bytes: 2.5 * MB, inodes: 1000 }, new Store(guest.dataRoot));
    assert.deepEqual(
      [...beyond.values()].map(({ code, image, label }) => [code, image, label]),
      [['STORE_FULL', 'large:1', 'dpl-a']],
    );
    assert.match(
      [...beyond.values()][0]?.message ?? '',
      /^disk dpl-a: image large:1 is left out: expected 1\.1 MB free in \S+, found \d+ kB beside what is kept for Docker; free some, then run: systemctl restart docker$/,
    );
    const inodes = imagesBeyond(planned, { bytes: 100 * MB, inodes: 54 }, new Store(guest.dataRoot));
    assert.match(
      [...inodes.values()][0]?.message ?? '',
      /is left out: expected \d+ free inodes in \S+, found \d+ beside/,
    );
  });

  it('what a disk under another label has, and the store, too, only leads elsewhere then, and stays', (t) => {
    const guest = new FakeGuest(scratch(t));
    const specs = ['one', 'two', 'three'].map((name): ImageSpec => ({
      layers: ['base', name],
      references: [`${name}:1`],
    }));
    guest.attach('dpl-a', specs.slice(0, 2));
    guest.boot();
    guest.detach('dpl-a');
    guest.attach('dpl-b', specs);
    const planned = guest.plan();
    assert.equal(planned.steps.filter((step) => step.do === 'link-layer').length, 4);
    const beyond = imagesBeyond(planned, { bytes: -MB, inodes: -1 }, new Store(guest.dataRoot));
    assert.deepEqual(
      [...beyond.values()].map(({ image }) => image),
      ['three:1'],
    );
  });

  it('of two filesystems each is to have room: overlay2/ may be on another', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [{ layers: ['base', 'top'], references: ['app:1'] }]);
    const planned = guest.plan();
    const beyond = (rest: Room, layers: Room): string | undefined =>
      [...imagesBeyond(planned, { ...rest, layers }, new Store(guest.dataRoot)).values()][0]?.message.replace(
        /.*is left out: | beside.*/g,
        '',
      );
    const [little, much] = [
      { bytes: 100 * 1024, inodes: 20 },
      { bytes: 100 * MB, inodes: 1000 },
    ];
    assert.equal(beyond(much, much), undefined);
    assert.equal(beyond(much, little), `expected 14 free inodes in ${guest.dataRoot}/overlay2, found 12`);
    assert.match(beyond(little, much) ?? '', new RegExp(`^expected \\d+ free inodes in ${guest.dataRoot}, found 0$`));
  });

  /** A disk with images of these sizes, for an empty store. */
  function offer(
    folder: string,
    sizes: readonly number[],
  ): { readonly input: PlanInput; readonly planned: ReturnType<typeof plan> } {
    const disk = path.join(folder, 'disk');
    const specs = sizes.map((_, index): ImageSpec => ({
      layers: ['base', `top ${index}`],
      references: [`image-${index}:1`],
    }));
    loadImages(disk, specs, 'disk');
    for (const [index, spec] of specs.entries()) grow(disk, spec, sizes[index] ?? 0);
    const store = new Store(path.join(folder, 'docker'));
    const input: PlanInput = {
      store,
      ledger: readLedger(store.dataRoot),
      disks: [{ content: readDisk('dpl-a', new FolderReader(disk)), rank: 0 }],
      config: { conflicts: 'user', removedImages: 'restore', prunedImages: 'restore' },
    };
    return { input, planned: plan(input) };
  }

  /** Makes the tar-split of an image's top layer that large. */
  function grow(root: string, spec: ImageSpec, bytes: number): void {
    truncateSync(path.join(metadataPaths(root).layer(must(factsOf(spec).chains.at(-1))), 'tar-split.json.gz'), bytes);
  }
});

describe('the room in a data root', () => {
  it('is what is free on the filesystem that it will be on, less what is kept', (t) => {
    const folder = scratch(t);
    const { bfree, bsize } = statfsSync(folder);
    const { bytes, inodes } = roomIn(path.join(folder, 'not/there/yet'));
    assert.ok(bytes <= bfree * bsize && bytes > bfree * bsize - 1000 * MB, `${bytes} of ${bfree * bsize}`);
    assert.ok(inodes > 0);
  });

  it('is that of overlay2/, too, where this is on another filesystem, and without an end on a tmpfs without limits', async (t) => {
    const folder = scratch(t);
    const mounts = { small: ['size=16m', 'nr_inodes=600'], endless: ['size=0', 'nr_inodes=0'] };
    for (const [name, options] of Object.entries(mounts)) {
      mkdirSync(path.join(folder, name));
      await execa('mount', ['-t', 'tmpfs', '-o', options.join(','), 'tmpfs', path.join(folder, name)]);
    }
    try {
      symlinkSync(path.join(folder, 'small'), path.join(folder, 'endless/overlay2'));
      const { layers, ...rest } = roomIn(path.join(folder, 'endless'));
      assert.deepEqual(rest, { bytes: Number.POSITIVE_INFINITY, inodes: Number.POSITIVE_INFINITY });
      assert.deepEqual(layers, { bytes: 14 * MB, inodes: 599 - 512 });
    } finally {
      for (const name of Object.keys(mounts)) await execa('umount', [path.join(folder, name)]);
    }
  });
});
