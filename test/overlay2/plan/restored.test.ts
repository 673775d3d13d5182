import assert from 'node:assert/strict';
import { existsSync, statSync, truncateSync, utimesSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { readLedger, writeLedger } from '../../../agent/overlay2/store/ledger.ts';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { Store } from '../../../agent/overlay2/store/store.ts';
import { scratch } from '../../support/temp-tree.ts';
import { app, mine, tool, tree, withUser } from '../crash-images.ts';
import { codesOf, FakeGuest } from '../../boot/fake-guest.ts';
import {
  factsOf,
  imageProblems,
  loadImages,
  must,
  references,
  removeImage,
  setReference,
  type ImageSpec,
} from '../../boot/fake-store.ts';

const { id } = factsOf(app);

/**
 * A guest whose dockerd has pruned an image of the disk, and loaded it again without names.
 * @returns the guest, and the time of its configuration
 */
function restored(t: TestContext): { readonly guest: FakeGuest; readonly time: number } {
  const guest = new FakeGuest(path.join(scratch(t), 'guest'));
  withUser(guest);
  guest.attach('dpl-a', [app, tool]);
  guest.boot();
  for (const name of must(app.references)) removeImage(guest.dataRoot, name);
  loadImages(guest.dataRoot, [withoutNames(app)]);
  return { guest, time: statSync(metadataPaths(guest.dataRoot).image(id)).mtimeMs };
}

const withoutNames = ({ layers, source }: ImageSpec): ImageSpec => ({
  layers,
  ...(source === undefined ? {} : { source }),
});
const note = (guest: FakeGuest, what: Partial<ReturnType<typeof readLedger>['ledger']>): void =>
  writeLedger(guest.dataRoot, { ...readLedger(guest.dataRoot).ledger, ...what });
const name = (guest: FakeGuest): void => {
  for (const reference of must(app.references)) setReference(guest.dataRoot, reference, id);
};

/** Nothing is left but what the user had. */
function leavesNothing(guest: FakeGuest): void {
  guest.detach('dpl-a');
  guest.boot();
  assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), must(mine.references).toSorted());
  assert.deepEqual([...new Store(guest.dataRoot).images], [factsOf(mine).id]);
  assert.deepEqual([...new Store(guest.dataRoot).layers.recorded], factsOf(mine).chains);
  assert.ok(!existsSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json')));
}

describe('an image that dockerd has loaded for us after a prune', () => {
  it('is ours as before, with nothing to do, and goes with the disk', (t) => {
    const { guest, time } = restored(t);
    note(guest, { restored: new Map([[id, time]]) });
    name(guest);
    assert.deepEqual(guest.plan().steps, []);
    assert.deepEqual(
      guest.plan().findings.filter(({ code }) => code !== 'TAG_CONFLICT'),
      [],
    );
    leavesNothing(guest);
  });

  it("is the user's once he has loaded or pulled it", (t) => {
    const { guest, time } = restored(t);
    note(guest, { restored: new Map([[id, time]]) });
    name(guest);
    loadImages(guest.dataRoot, [app]);
    utimesSync(metadataPaths(guest.dataRoot).image(id), new Date(time + 2), new Date(time + 2));
    guest.boot();
    assert.deepEqual(readLedger(guest.dataRoot).ledger.restored, new Map());
    guest.detach('dpl-a');
    assert.ok(codesOf(guest.boot()).includes('KEPT'));
    for (const reference of must(app.references)) assert.equal(references(guest.dataRoot).get(reference), id);
    guest.attach('dpl-a', [app]);
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  it('gets our mark when it has to be mended', (t) => {
    const { guest, time } = restored(t);
    note(guest, { restored: new Map([[id, time]]) });
    name(guest);
    const file = metadataPaths(guest.dataRoot).image(id);
    truncateSync(file, 10);
    utimesSync(file, time / 1000, time / 1000);
    note(guest, { restored: new Map([[id, statSync(file).mtimeMs]]) });
    assert.ok(guest.plan().steps.some((step) => step.do === 'store-image'));
    guest.boot();
    assert.deepEqual(guest.plan().steps, []);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    leavesNothing(guest);
  });

  describe('and we were killed before that was noted', () => {
    it('is ours where nobody has named it', (t) => {
      const { guest, time } = restored(t);
      note(guest, { restoring: { sinceMs: time - 100, images: new Set([id]) } });
      guest.boot();
      const { ledger } = readLedger(guest.dataRoot);
      assert.deepEqual([ledger.restored, ledger.restoring], [new Map([[id, time]]), undefined]);
      for (const reference of must(app.references)) assert.equal(references(guest.dataRoot).get(reference), id);
      assert.deepEqual(guest.plan().steps, []);
      leavesNothing(guest);
    });

    it("is the user's where he has named it, at whatever time", (t) => {
      const { guest, time } = restored(t);
      note(guest, { restoring: { sinceMs: time - 100, images: new Set([id]) } });
      setReference(guest.dataRoot, 'his:1', id);
      guest.boot();
      guest.detach('dpl-a');
      assert.ok(codesOf(guest.boot()).includes('KEPT'));
      assert.equal(references(guest.dataRoot).get('his:1'), id);
    });

    for (const [is, sinceMs] of [
      ['before', 1000],
      ['long after', -100_000],
    ] as const) {
      it(`is the user's where dockerd has written it ${is}`, (t) => {
        const { guest, time } = restored(t);
        note(guest, { restoring: { sinceMs: time + sinceMs, images: new Set([id]) } });
        guest.boot();
        guest.detach('dpl-a');
        guest.boot();
        assert.ok(new Store(guest.dataRoot).images.has(id));
      });
    }

    it('and again at each step of the boot after that, or of the one after the detach', (t) => {
      for (const change of ['none', 'detach'] as const) {
        const run = (killedAfter?: number): { readonly guest: FakeGuest; readonly steps: number } => {
          const { guest, time } = restored(t);
          // All are of one time, so that what is left can be compared.
          utimesSync(metadataPaths(guest.dataRoot).image(id), new Date(1_700_000_000_000), new Date(1_700_000_000_000));
          assert.ok(time > 0);
          note(guest, { restoring: { sinceMs: 1_700_000_000_000, images: new Set([id]) } });
          if (change === 'detach') guest.detach('dpl-a');
          const steps = guest.plan().steps.length;
          if (killedAfter !== undefined) guest.boot(killedAfter);
          guest.boot();
          assert.deepEqual(guest.plan().steps, []);
          return { guest, steps };
        };
        const undisturbed = run();
        assert.ok(undisturbed.steps > 2);
        for (let killedAfter = 0; killedAfter < undisturbed.steps; killedAfter += 1) {
          assert.deepEqual(
            tree(run(killedAfter).guest),
            tree(undisturbed.guest),
            `${change}, killed after ${killedAfter} steps`,
          );
        }
        if (change === 'detach')
          assert.deepEqual([...new Store(undisturbed.guest.dataRoot).images], [factsOf(mine).id]);
      }
    });

    it('and dockerd had not loaded it: it comes as ever', (t) => {
      const { guest, time } = restored(t);
      setReference(guest.dataRoot, 'app:1', id);
      removeImage(guest.dataRoot, 'app:1');
      note(guest, { restoring: { sinceMs: time, images: new Set([id]) } });
      guest.boot();
      assert.deepEqual(readLedger(guest.dataRoot).ledger.restored, new Map());
      assert.deepEqual(imageProblems(guest.dataRoot, app), []);
      leavesNothing(guest);
    });
  });
});
