import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { apply } from '../../agent/overlay2/apply/apply-steps.ts';
import { preparedNames } from '../../agent/overlay2/store/ledger.ts';
import { FakeGuest } from '../boot/fake-guest.ts';
import { factsOf, loadImages, must, references, setReference, type ImageSpec } from '../boot/fake-store.ts';
import { scratch } from '../support/temp-tree.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1', 'app:latest'] };

/** What a run leaves that is killed when all is written but the names. */
function killedBeforeNames(guest: FakeGuest): void {
  const { steps } = guest.plan();
  const at = steps.findIndex((step) => step.do === 'write-references');
  const names = steps.find((step) => step.do === 'write-ledger')?.names;
  assert.ok(at > 0 && names !== undefined);
  apply(guest.dataRoot, steps.slice(0, at));
  // A run that comes to its end removes it.
  writeFileSync(preparedNames(guest.dataRoot), names);
}

describe('a run that was killed before it gave a name', () => {
  it("does not make the disk's what the user then gives that name himself", (t) => {
    const guest = new FakeGuest(scratch(t));
    // The user has pulled the same image under a name of his own.
    loadImages(guest.dataRoot, [{ ...app, references: ['mine:1'] }]);
    guest.attach('dpl-a', [app]);
    killedBeforeNames(guest);
    setReference(guest.dataRoot, 'app:1', factsOf(app).id);
    guest.boot();
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), ['app:1', 'mine:1']);
  });

  it('does not give back a name that it was to take, and that the user has then removed', (t) => {
    const guest = new FakeGuest(scratch(t));
    const mine: ImageSpec = { layers: ['mine'], references: ['app:1', 'mine:1'] };
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [app]);
    guest.config = { ...guest.config, conflicts: 'disk', removedImages: 'respect' };
    killedBeforeNames(guest);
    setReference(guest.dataRoot, 'app:1', undefined);
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1']);
  });

  it('leaves nothing behind', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    killedBeforeNames(guest);
    guest.boot();
    assert.ok(!existsSync(preparedNames(guest.dataRoot)));
    must(references(guest.dataRoot).get('app:1'));
  });
});
