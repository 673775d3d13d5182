import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { makeScratch, removeScratch, scratch } from '../support/scratch.ts';
import { FakeGuest } from './fake-guest.ts';
import { addContainer, factsOf, imageProblems, loadImages, must, references, setReference, snapshot, type ImageSpec } from './fake-store.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1', 'app:latest'], source: 'docker.io/library/app' };
const app2: ImageSpec = { layers: ['base', 'app 2'], references: ['app:latest'], source: 'docker.io/library/app' };
const tool: ImageSpec = { layers: ['base', 'tool'], references: ['tool:1', 'tool:2'] };
const mine: ImageSpec = { layers: ['mine'], references: ['mine:1', 'tool:1'] };
const built: ImageSpec = { layers: ['base', 'app', 'built on it'], references: ['built:1'] };

/** What happens to the guest: the first part is done, then `change`, and the boot after that is the one that is killed. */
interface Story {
  readonly name: string;
  readonly before: (guest: FakeGuest) => void;
  readonly change: (guest: FakeGuest) => void;
  /** What must work at every moment. */
  readonly always: readonly ImageSpec[];
}

const withUser = (guest: FakeGuest): void => loadImages(guest.dataRoot, [mine]);
const stories: readonly Story[] = [
  { name: 'a first boot', before: withUser, change: (guest) => guest.attach('dpl-a', [app, tool]), always: [mine] },
  {
    name: 'a first boot where the disk takes a tag of the user\'s',
    before: (guest) => {
      withUser(guest);
      guest.config = { conflicts: 'disk', removedImages: 'restore' };
    },
    change: (guest) => guest.attach('dpl-a', [app, tool]),
    always: [mine],
  },
  {
    name: 'an upgrade under an image of the user\'s',
    before: (guest) => {
      guest.attach('dpl-a', [app, tool]);
      guest.boot();
      withUser(guest);
      loadImages(guest.dataRoot, [built]);
      addContainer(guest.dataRoot, 'c', built);
    },
    change: (guest) => {
      guest.attach('dpl-a', [app2], { salt: 'new' });
      guest.attach('dpl-b', [app], { salt: 'b' });
    },
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
        const userReferences = [...references(guest.dataRoot)].filter(([reference]) => always.some((spec) => spec.references?.[0] === reference));
        const steps = guest.plan().steps.length;
        if (killedAfter !== undefined) {
          guest.boot(killedAfter);
          for (const [reference, id] of userReferences) assert.equal(references(guest.dataRoot).get(reference), id, `${reference} after ${killedAfter} steps`);
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
        assert.deepEqual([...references(guest.dataRoot)], [['tool:1', factsOf(tool).id], ['tool:2', factsOf(tool).id]], `killed after ${first} and ${second} steps`);
        assert.equal(readdirSync(metadataPaths(guest.dataRoot).layers).length, 2, `killed after ${first} and ${second} steps`);
      }
    }
  });

  it('does not take its own unfinished removal for one of the user\'s', (t) => {
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

/** What a power cut makes of a file that was written and not synced. */
const damages: Readonly<Record<string, (file: string) => void>> = {
  emptied: (file) => truncateSync(file, 0),
  halved: (file) => truncateSync(file, Math.floor(lstatSync(file).size / 2)),
  zeroed: (file) => writeFileSync(file, Buffer.alloc(lstatSync(file).size)),
  removed: (file) => rmSync(file),
};

/** Files of ours that were written without waiting for the disk. */
function unsyncedFiles(guest: FakeGuest, userFiles: ReadonlySet<string>): string[] {
  return [...snapshot(guest.dataRoot)].filter(([file, kind]) => !kind.startsWith('folder') && !userFiles.has(file) && !/repositories\.json$|ledger\.json$|\/diff\/file$/.test(file)).map(([file]) => file);
}

function damaged(t: { after(done: () => void): void }): { readonly guest: FakeGuest; readonly files: readonly string[]; readonly expected: Map<string, string> } {
  const guest = new FakeGuest(scratch(t));
  withUser(guest);
  const userFiles = new Set(snapshot(guest.dataRoot).keys());
  guest.attach('dpl-a', [app, tool]);
  guest.boot();
  return { guest, files: unsyncedFiles(guest, userFiles), expected: tree(guest) };
}

describe('a power cut after the first boot', () => {
  for (const [how, damage] of Object.entries(damages)) {
    it(`leaves a file ${how}: the next boot mends it, whichever it is`, (t) => {
      const { guest, files, expected } = damaged(t);
      assert.ok(files.length > 30);
      for (const name of files) {
        const file = path.join(guest.dataRoot, name);
        if (how !== 'removed' && (lstatSync(file).isSymbolicLink() || lstatSync(file).size === 0)) continue;
        damage(file);
        guest.boot();
        const after = tree(guest);
        assert.deepEqual(after, expected, `${name} ${how}`);
      }
    });
  }

  it('leaves many files damaged in many ways: the next boot mends them all', (t) => {
    const { guest, files, expected } = damaged(t);
    fc.assert(
      fc.property(fc.subarray([...files]), fc.array(fc.constantFrom(...Object.values(damages)), { minLength: 1 }), (names, hows) => {
        for (const [index, name] of names.entries()) {
          const file = path.join(guest.dataRoot, name);
          const damage = hows[index % hows.length];
          if (lstatSync(file).isSymbolicLink()) rmSync(file);
          else damage?.(file);
        }
        guest.boot();
        assert.deepEqual(tree(guest), expected);
      }),
      { numRuns: 60 },
    );
  });

  it('and a disk that is gone at once: what is damaged goes, too, and is not in the way of a pull', (t) => {
    const { files } = damaged(t);
    for (const how of Object.keys(damages)) {
      for (const name of files.filter((file) => file.includes('layerdb') || file.includes('overlay2/'))) {
        const folder = makeScratch();
        try {
          const again = new FakeGuest(folder);
          withUser(again);
          again.attach('dpl-a', [app, tool]);
          again.boot();
          const file = path.join(again.dataRoot, name);
          if (!lstatSync(file).isSymbolicLink()) damages[how]?.(file);
          else rmSync(file);
          again.detach('dpl-a');
          again.boot();
          assert.deepEqual(readdirSync(metadataPaths(again.dataRoot).layers), factsOf(mine).chains.map((chain) => chain.slice(7)), `${name} ${how}`);
          assert.deepEqual(imageProblems(again.dataRoot, mine), []);
        } finally {
          removeScratch(folder);
        }
      }
    }
  });

  it('does not touch what the user\'s dockerd wrote, however it looks', (t) => {
    const guest = new FakeGuest(scratch(t));
    withUser(guest);
    loadImages(guest.dataRoot, [{ layers: ['base'], references: ['base:1'] }]);
    const tarSplit = `${metadataPaths(guest.dataRoot).layer(must(factsOf(app).chains[0]))}/tar-split.json.gz`;
    truncateSync(tarSplit, 0);
    guest.attach('dpl-a', [app]);
    guest.boot();
    assert.equal(readFileSync(tarSplit, 'utf8'), '');
  });
});

describe('the ledger', () => {
  for (const [how, damage] of Object.entries({ ...damages, 'of another form': (file: string) => writeFileSync(file, '{"formatVersion":"1.0","layers":7}') })) {
    it(`${how}: nothing is lost, and all is ours again`, (t) => {
      const guest = new FakeGuest(scratch(t));
      withUser(guest);
      guest.attach('dpl-a', [tool]);
      guest.boot();
      const expected = tree(guest);
      damage(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
      guest.boot();
      assert.deepEqual(tree(guest), expected);
      guest.detach('dpl-a');
      guest.boot();
      assert.deepEqual(readdirSync(metadataPaths(guest.dataRoot).layers), factsOf(mine).chains.map((chain) => chain.slice(7)));
    });
  }

  it('of a newer program: nothing is changed', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    writeFileSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'), '{"formatVersion":"2.0"}');
    guest.detach('dpl-a');
    const before = snapshot(guest.dataRoot);
    assert.throws(() => guest.boot(), { code: 'LEDGER_NEWER', message: /ledger\.json: format 1 expected, found 2\.0: a newer docker-preloader is needed; the store is left as it is/ });
    assert.deepEqual(snapshot(guest.dataRoot), before);
  });

  it('lost while the disk is gone: what might be the user\'s stays', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    setReference(guest.dataRoot, 'own:1', factsOf(app).id);
    rmSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
    guest.detach('dpl-a');
    guest.boot();
    assert.ok(references(guest.dataRoot).has('own:1'));
    assert.ok(existsSync(metadataPaths(guest.dataRoot).image(factsOf(app).id)));
  });
});

/** The data root, without where in the machine it lies. */
function tree(guest: FakeGuest): Map<string, string> {
  const root = path.dirname(guest.dataRoot);
  return new Map([...snapshot(guest.dataRoot)].map(([file, kind]) => [file, kind.replaceAll(root, '')]));
}
