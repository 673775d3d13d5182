import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { makeScratch, removeScratch, scratch } from '../support/temp-tree.ts';
import { app, mine, tool, tree, withUser } from './crash-images.ts';
import { FakeGuest } from '../boot/fake-guest.ts';
import { factsOf, imageProblems, loadImages, must, references, setReference } from '../boot/fake-store.ts';
import { readTree } from '../support/tree.ts';

/** What a power cut makes of a file that was written and not synced. */
const damages: Readonly<Record<string, (file: string) => void>> = {
  emptied: (file) => truncateSync(file, 0),
  halved: (file) => truncateSync(file, Math.floor(lstatSync(file).size / 2)),
  zeroed: (file) => writeFileSync(file, Buffer.alloc(lstatSync(file).size)),
  removed: (file) => rmSync(file),
};

/** Files of ours that were written without waiting for the disk. */
function unsyncedFiles(guest: FakeGuest, userFiles: ReadonlySet<string>): string[] {
  return [...readTree(guest.dataRoot)]
    .filter(
      ([file, kind]) =>
        !kind.startsWith('folder') &&
        !userFiles.has(file) &&
        !/repositories\.json$|ledger\.json$|\/diff\/file$/.test(file),
    )
    .map(([file]) => file);
}

function damaged(t: { after(done: () => void): void }): {
  readonly guest: FakeGuest;
  readonly files: readonly string[];
  readonly expected: Map<string, string>;
} {
  const guest = new FakeGuest(scratch(t));
  withUser(guest);
  const userFiles = new Set(readTree(guest.dataRoot).keys());
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
      fc.property(
        fc.subarray([...files]),
        fc.array(fc.constantFrom(...Object.values(damages)), { minLength: 1 }),
        (names, hows) => {
          for (const [index, name] of names.entries()) {
            const file = path.join(guest.dataRoot, name);
            const damage = hows[index % hows.length];
            if (lstatSync(file).isSymbolicLink()) rmSync(file);
            else damage?.(file);
          }
          guest.boot();
          assert.deepEqual(tree(guest), expected);
        },
      ),
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
          assert.deepEqual(
            readdirSync(metadataPaths(again.dataRoot).layers),
            factsOf(mine).chains.map((chain) => chain.slice(7)),
            `${name} ${how}`,
          );
          assert.deepEqual(imageProblems(again.dataRoot, mine), []);
        } finally {
          removeScratch(folder);
        }
      }
    }
  });

  it("does not touch what the user's dockerd wrote, however it looks", (t) => {
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
  for (const [how, damage] of Object.entries({
    ...damages,
    'of another form': (file: string) => writeFileSync(file, '{"formatVersion":"1.0","layers":7}'),
  })) {
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
      assert.deepEqual(
        readdirSync(metadataPaths(guest.dataRoot).layers),
        factsOf(mine).chains.map((chain) => chain.slice(7)),
      );
    });
  }

  it('of a newer program: nothing is changed', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    writeFileSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'), '{"formatVersion":"3.0"}');
    guest.detach('dpl-a');
    const before = readTree(guest.dataRoot);
    assert.throws(() => guest.boot(), {
      code: 'LEDGER_NEWER',
      message:
        /ledger\.json: expected format 2, found 3\.0: a newer docker-preloader is needed; the store is left as it is/,
    });
    assert.deepEqual(readTree(guest.dataRoot), before);
  });

  it("lost while the disk is gone: what might be the user's stays", (t) => {
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
