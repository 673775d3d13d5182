import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { apply } from '../../../agent/overlay2/apply/apply-steps.ts';
import { defaultConfig } from '../../../agent/config/config.ts';
import { readLedger } from '../../../agent/overlay2/store/ledger.ts';
import { plan } from '../../../agent/overlay2/plan/make-plan.ts';
import { FolderReader } from '../../../agent/disk/folder-reader.ts';
import { readDisk } from '../../../agent/disk/read-disk.ts';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { Store } from '../../../agent/overlay2/store/store.ts';
import { scratch } from '../../support/temp-tree.ts';
import { app, app2, built, mine, tool, tree, withUser } from '../crash-images.ts';
import { FakeGuest } from '../../boot/fake-guest.ts';
import {
  addContainer,
  factsOf,
  imageProblems,
  loadImages,
  must,
  references,
  removeImage,
  type ImageSpec,
} from '../../boot/fake-store.ts';
import { readTree } from '../../support/tree.ts';

/**
 * What happens to the guest: the first part is done, then `change`, and the boot after that is the one that is killed.
 */
interface Story {
  readonly name: string;
  readonly before: (guest: FakeGuest) => void;
  readonly change: (guest: FakeGuest) => void;
  /** How many layers that boot records. */
  readonly layers: number;
  /** What must work at every moment. */
  readonly always: readonly ImageSpec[];
}

const stories: readonly Story[] = [
  {
    name: 'a first boot',
    before: withUser,
    change: (guest) => guest.attach('dpl-a', [app, tool]),
    layers: 3,
    always: [mine],
  },
  {
    name: "a first boot where the disk takes a tag of the user's",
    before: (guest) => {
      withUser(guest);
      guest.config = { conflicts: 'disk', removedImages: 'restore' };
    },
    change: (guest) => guest.attach('dpl-a', [app, tool]),
    layers: 3,
    always: [mine],
  },
  {
    name: "an upgrade under an image of the user's",
    before: (guest) => {
      guest.attach('dpl-a', [app, tool]);
      guest.boot();
      withUser(guest);
      loadImages(guest.dataRoot, [built]);
      addContainer(guest.dataRoot, 'c', built);
    },
    change: (guest) => {
      guest.attach('dpl-a', [app2], { salt: 'new' });
      guest.attach('dpl-b', [{ ...app, references: ['app:1'] }], { salt: 'b' });
    },
    layers: 1,
    always: [mine],
  },
  {
    name: 'a disk that is gone',
    before: (guest) => {
      withUser(guest);
      guest.attach('dpl-a', [app, tool]);
      guest.boot();
    },
    change: (guest) => guest.detach('dpl-a'),
    layers: 0,
    always: [mine],
  },
  {
    name: 'a disk that gives back a tag',
    before: (guest) => {
      withUser(guest);
      guest.config = { conflicts: 'disk', removedImages: 'restore' };
      guest.attach('dpl-a', [app, tool]);
      guest.boot();
    },
    change: (guest) => guest.detach('dpl-a'),
    layers: 0,
    always: [mine],
  },
  {
    name: 'one disk in place of another',
    before: (guest) => {
      withUser(guest);
      guest.attach('dpl-a', [app]);
      guest.boot();
    },
    change: (guest) => {
      guest.detach('dpl-a');
      guest.attach('dpl-b', [app2, tool]);
    },
    layers: 2,
    always: [mine],
  },
  {
    name: 'a ledger that is lost',
    before: (guest) => {
      withUser(guest);
      guest.attach('dpl-a', [app]);
      guest.boot();
      rmSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
    },
    change: (guest) => guest.attach('dpl-b', [tool]),
    layers: 1,
    always: [mine],
  },
];

describe('a boot that is killed after each of its steps', () => {
  for (const { name, before, change, always } of stories) {
    it(`${name}: nothing of the user's is missing, and the next boot comes to the same`, (t) => {
      const run = (killedAfter: number | undefined): { readonly guest: FakeGuest; readonly steps: number } => {
        const guest = new FakeGuest(path.join(scratch(t), 'guest'));
        before(guest);
        change(guest);
        const userReferences = [...references(guest.dataRoot)].filter(([reference]) =>
          always.some((spec) => spec.references?.[0] === reference),
        );
        const steps = guest.plan().steps.length;
        if (killedAfter !== undefined) {
          guest.boot(killedAfter);
          for (const [reference, id] of userReferences)
            assert.equal(references(guest.dataRoot).get(reference), id, `${reference} after ${killedAfter} steps`);
          for (const spec of always) assert.deepEqual(imageProblems(guest.dataRoot, spec), []);
        }
        guest.boot();
        assert.deepEqual(guest.plan().steps, []);
        return { guest, steps };
      };
      const undisturbed = run(undefined);
      const expected = tree(undisturbed.guest);
      assert.ok(undisturbed.steps > 2);
      for (let killedAfter = 0; killedAfter < undisturbed.steps; killedAfter += 1) {
        assert.deepEqual(tree(run(killedAfter).guest), expected, `killed after ${killedAfter} steps`);
      }
    });
  }

  it('gives a taken tag back, also when the boot that took it was killed', (t) => {
    for (const killedAfter of [0, 1, 2, 3, 5, 7, 9, 10, 11, 12]) {
      const guest = new FakeGuest(scratch(t));
      withUser(guest);
      guest.config = { conflicts: 'disk', removedImages: 'restore' };
      guest.attach('dpl-a', [tool]);
      guest.boot(killedAfter);
      guest.boot();
      assert.equal(references(guest.dataRoot).get('tool:1'), factsOf(tool).id);
      guest.detach('dpl-a');
      guest.boot();
      assert.equal(references(guest.dataRoot).get('tool:1'), factsOf(mine).id, `killed after ${killedAfter} steps`);
    }
  });

  it('leaves the user what he has loaded again, also when the boot that saw it was killed', (t) => {
    const both: ImageSpec = { ...app, references: ['app:1', 'app:latest'] };
    const before = (): FakeGuest => {
      const guest = new FakeGuest(scratch(t));
      guest.attach('dpl-a', [both]);
      guest.boot();
      removeImage(guest.dataRoot, 'app:latest');
      loadImages(guest.dataRoot, [{ ...app, references: ['app:1'] }]);
      return guest;
    };
    for (let killedAfter = 0; killedAfter <= before().plan().steps.length; killedAfter += 1) {
      const guest = before();
      guest.boot(killedAfter);
      guest.boot();
      guest.detach('dpl-a');
      guest.boot();
      assert.deepEqual(
        references(guest.dataRoot),
        new Map([['app:1', factsOf(app).id]]),
        `killed after ${killedAfter} steps`,
      );
    }
  });

  it('leaves nothing behind of a disk that is gone at the second of two killed boots', (t) => {
    const steps = (() => {
      const guest = new FakeGuest(scratch(t));
      guest.attach('dpl-a', [app]);
      return guest.plan().steps.length;
    })();
    for (let first = 1; first <= steps; first += 1) {
      for (const second of [1, 2, 4, 6, 8]) {
        const guest = new FakeGuest(scratch(t));
        guest.attach('dpl-a', [app]);
        guest.boot(first);
        guest.detach('dpl-a');
        guest.attach('dpl-b', [tool]);
        guest.boot(second);
        guest.boot();
        assert.deepEqual(
          [...references(guest.dataRoot)],
          [
            ['tool:1', factsOf(tool).id],
            ['tool:2', factsOf(tool).id],
          ],
          `killed after ${first} and ${second} steps`,
        );
        assert.equal(
          readdirSync(metadataPaths(guest.dataRoot).layers).length,
          2,
          `killed after ${first} and ${second} steps`,
        );
      }
    }
  });

  it("does not take its own unfinished removal for one of the user's", (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.config = { conflicts: 'user', removedImages: 'respect' };
    guest.attach('dpl-a', [tool]);
    guest.boot();
    guest.detach('dpl-a');
    const { steps } = guest.plan();
    guest.boot(steps.findIndex((step) => step.do === 'write-references') + 1);
    assert.equal(references(guest.dataRoot).get('tool:1'), undefined);
    guest.attach('dpl-a', [tool]);
    guest.boot();
    assert.equal(references(guest.dataRoot).get('tool:1'), factsOf(tool).id);
  });
});

describe('a boot after a dockerd that was killed while it deleted a layer', () => {
  it("leaves nothing by which that would finish once the layer is there again, and what is the user's as it is", (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    const paths = metadataPaths(guest.dataRoot);
    const top = must(factsOf(app).chains.at(-1));
    const aside = (rest: string): string => `${paths.layer(top)}-${rest}-removing`;
    renameSync(paths.layer(top), aside('0123'));
    cpSync(aside('0123'), aside('4567'), { recursive: true });
    writeFileSync(`${aside('4567')}/cache-id`, '8'.repeat(64));
    guest.boot();
    assert.deepEqual(
      readdirSync(paths.layers).filter((name) => name.endsWith('-removing')),
      [path.basename(aside('4567'))],
    );
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });
});

describe('a boot that fails at a layer of a disk', () => {
  for (const { name, before, change, layers } of stories.filter((story) => story.layers > 0)) {
    it(`${name}: what it has added is gone, and what was there is there`, (t) => {
      const failAt = (index: number): boolean => {
        const guest = new FakeGuest(path.join(scratch(t), 'guest'));
        before(guest);
        change(guest);
        const { steps } = guest.plan();
        const record = steps.filter((step) => step.do === 'record-layer')[index];
        if (record === undefined) return false;
        const found = filesIn(guest.dataRoot);
        const file = record.tarSplit?.path ?? '';
        const content = readFileSync(file);
        truncateSync(file, 1);
        assert.throws(() => apply(guest.dataRoot, steps), {
          code: 'DISK_LAYOUT',
          label: record.label,
          message: /tar-split\.json\.gz: expected \d+ bytes, found only 1$/,
        });
        // Of a layer that stays, the link may lead to another disk by now.
        const now = filesIn(guest.dataRoot);
        assert.deepEqual([...now.keys()], [...found.keys()]);
        for (const [entry, is] of found)
          if (!/^overlay2\/[^/]+\/diff$/.test(entry)) assert.equal(now.get(entry), is, entry);
        writeFileSync(file, content);
        guest.boot();
        assert.deepEqual(guest.plan().steps, []);
        return true;
      };
      let failures = 0;
      while (failAt(failures)) failures += 1;
      assert.equal(failures, layers);
    });
  }

  it('that is not read any more where it is compared only, after a boot that was cut short: it is told of the disk', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    const content = readDisk('dpl-a', new FolderReader(guest.diskPath('dpl-a')));
    const input = {
      store: new Store(guest.dataRoot),
      ledger: readLedger(guest.dataRoot),
      disks: [{ content, rank: 0 }],
      config: defaultConfig(),
    };
    assert.deepEqual(plan(input).steps, []);
    const record = metadataPaths(guest.diskPath('dpl-a')).layer(must(factsOf(app).chains[0]));
    truncateSync(`${record}/tar-split.json.gz`, 1);
    assert.throws(() => plan({ ...input, store: new Store(guest.dataRoot) }), {
      code: 'DISK_LAYOUT',
      label: 'dpl-a',
      message: /tar-split\.json\.gz: expected \d+ bytes, found only 1$/,
    });
  });

  /** Folders that hold nothing do not count, nor does the ledger. */
  function filesIn(dataRoot: string): Map<string, string> {
    return new Map(
      [...readTree(dataRoot)].filter(
        ([entry, is]) => !entry.startsWith('docker-preloader') && !is.startsWith('folder'),
      ),
    );
  }
});
