import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { readLedger, writeLedger } from '../../../agent/overlay2/store/ledger.ts';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { pinName } from '../../../agent/docker/layer-folders.ts';
import { Store } from '../../../agent/overlay2/store/store.ts';
import { scratch } from '../../support/temp-tree.ts';
import { app, app2, built, mine, tool, withUser } from '../crash-images.ts';
import { codesOf, FakeGuest } from '../../boot/fake-guest.ts';
import {
  addContainer,
  factsOf,
  imageProblems,
  loadImages,
  must,
  references,
  removeContainer,
  removeImage,
  setReference,
  type ImageSpec,
} from '../../boot/fake-store.ts';

const pinOf = (spec: ImageSpec): string => pinName(must(factsOf(spec).chains.at(-1)));
const mounts = (guest: FakeGuest): string[] => {
  const folder = metadataPaths(guest.dataRoot).containers;
  return existsSync(folder) ? readdirSync(folder).toSorted() : [];
};
const pins = (...specs: readonly ImageSpec[]): string[] => specs.map(pinOf).toSorted();

function newGuest(t: TestContext, ...images: readonly ImageSpec[]): FakeGuest {
  const guest = new FakeGuest(path.join(scratch(t), 'guest'));
  guest.attach('dpl-a', images);
  guest.boot();
  return guest;
}

/** What ran before has reached the disk: what is there is trusted. */
function synced(guest: FakeGuest): void {
  writeLedger(guest.dataRoot, { ...readLedger(guest.dataRoot).ledger, synced: true });
}

describe('pins', () => {
  it("are for the top layer of each image, as dockerd writes a container's, and change nothing at the next boot", (t) => {
    const guest = newGuest(t, app, tool);
    assert.deepEqual(mounts(guest), pins(app, tool));
    const folder = metadataPaths(guest.dataRoot).mount(pinOf(app));
    assert.deepEqual(readdirSync(folder), ['mount-id', 'parent']);
    assert.match(readFileSync(`${folder}/mount-id`, 'utf8'), /^[0-9a-f]{64}$/);
    assert.equal(readFileSync(`${folder}/parent`, 'utf8'), factsOf(app).chains.at(-1));
    assert.deepEqual(guest.plan().steps, []);
    synced(guest);
    assert.deepEqual(guest.plan().steps, []);
  });

  it('are no containers, and containers are no pins', (t) => {
    const guest = newGuest(t, app);
    const container = addContainer(guest.dataRoot, 'c', app);
    const store = new Store(guest.dataRoot);
    assert.deepEqual([...store.mounts.containerParents().keys()], [container]);
    assert.deepEqual(store.mounts.pinnedLayers(), [factsOf(app).chains.at(-1)]);
  });

  it("come after the layer's record, and go before it, also where one disk takes the place of another", (t) => {
    const guest = newGuest(t, app, tool);
    guest.attach('dpl-a', [app2]);
    const steps = guest.plan().steps.map((step) => step.do);
    assert.ok(steps.lastIndexOf('record-layer') < steps.indexOf('pin-layer'));
    assert.ok(steps.lastIndexOf('unpin-layer') < steps.indexOf('remove-layer'));
    guest.boot();
    assert.deepEqual(mounts(guest), pins(app2));
    assert.deepEqual(guest.plan().steps, []);
  });

  it('go with the disk, also with the ledger lost, and those of layers that stay', (t) => {
    for (const lost of [false, true]) {
      const guest = newGuest(t, app, tool);
      loadImages(guest.dataRoot, [built]);
      guest.detach('dpl-a');
      if (lost) rmSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
      assert.deepEqual(codesOf(guest.boot()).includes('KEPT'), true);
      assert.deepEqual(mounts(guest), []);
      guest.boot();
      assert.deepEqual(guest.plan().steps, []);
    }
  });

  it("keep no layer by themselves: with nothing of the user's on it, nothing stays", (t) => {
    const guest = newGuest(t, app);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual([...new Store(guest.dataRoot).layers.recorded], []);
  });

  it("are not for a top layer of the user's", (t) => {
    const guest = new FakeGuest(path.join(scratch(t), 'guest'));
    loadImages(guest.dataRoot, [{ ...app, references: ['own:1'] }]);
    guest.attach('dpl-a', [app, tool]);
    guest.boot();
    assert.deepEqual(mounts(guest), pins(tool));
  });

  it('are not there with `prunedImages: respect`, and go when that is set', (t) => {
    const guest = newGuest(t, app);
    guest.config = { conflicts: 'user', removedImages: 'restore', prunedImages: 'respect' };
    assert.deepEqual(
      guest.boot().steps.map((step) => step.do),
      ['write-ledger', 'unpin-layer', 'write-ledger'],
    );
    assert.deepEqual(mounts(guest), []);
    assert.deepEqual(guest.plan().steps, []);
  });

  it('go with a removal that is respected, and with what the user lets go of', (t) => {
    const guest = newGuest(t, app, tool);
    guest.config = { conflicts: 'user', removedImages: 'respect' };
    guest.boot();
    for (const name of must(tool.references)) removeImage(guest.dataRoot, name);
    // The pin has kept it until now.
    assert.ok(new Store(guest.dataRoot).layers.has(must(factsOf(tool).chains.at(-1))));
    guest.boot();
    assert.deepEqual(mounts(guest), pins(app));
    assert.ok(!new Store(guest.dataRoot).layers.has(must(factsOf(tool).chains.at(-1))));
  });

  it('are mended after a power cut, and found by their names when all was synced', (t) => {
    const guest = newGuest(t, app);
    const parent = `${metadataPaths(guest.dataRoot).mount(pinOf(app))}/parent`;
    truncateSync(parent, 0);
    assert.deepEqual(
      guest.boot().steps.map((step) => step.do),
      ['write-ledger', 'pin-layer', 'write-ledger'],
    );
    assert.equal(readFileSync(parent, 'utf8'), factsOf(app).chains.at(-1));
    synced(guest);
    rmSync(path.dirname(parent), { recursive: true });
    guest.boot();
    assert.deepEqual(mounts(guest), pins(app));
  });

  it("leave to the user what he removed and loaded: it is his, stands on the disk's layers, and stays when that goes", (t) => {
    const guest = newGuest(t, app);
    for (const name of must(app.references)) removeImage(guest.dataRoot, name);
    loadImages(guest.dataRoot, [app]);
    assert.deepEqual(codesOf(guest.boot()), []);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), ['KEPT']);
    assert.deepEqual([...references(guest.dataRoot).keys()], must(app.references));
    assert.deepEqual(mounts(guest), []);
    guest.attach('dpl-a', [app]);
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    // What stays without its disk is not pinned: removed and loaded again, it is whole and the user's.
    guest.detach('dpl-a');
    guest.boot();
    for (const name of must(app.references)) removeImage(guest.dataRoot, name);
    loadImages(guest.dataRoot, [app]);
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  it('of a layer that two disks have stay with either', (t) => {
    const guest = newGuest(t, app);
    guest.attach('dpl-b', [{ ...app, references: ['again:1'] }]);
    guest.boot();
    assert.deepEqual(mounts(guest), pins(app));
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual(mounts(guest), pins(app));
    guest.detach('dpl-b');
    guest.boot();
    assert.deepEqual(mounts(guest), []);
  });

  it('leave a container alone, over an upgrade of what it stands on', (t) => {
    const guest = newGuest(t, app);
    withUser(guest);
    const container = addContainer(guest.dataRoot, 'c', app);
    guest.attach('dpl-a', [app2]);
    assert.ok(codesOf(guest.boot()).includes('KEPT'));
    assert.deepEqual(mounts(guest), [...pins(app2), container].toSorted());
    removeContainer(guest.dataRoot, container);
    setReference(guest.dataRoot, 'app:1', undefined);
    guest.boot();
    assert.deepEqual(mounts(guest), pins(app2));
    assert.deepEqual(imageProblems(guest.dataRoot, mine), []);
  });
});
