import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { overlayPaths, ownLayerNames } from '../../../agent/docker/layer-folders.ts';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { linkTarget } from '../../../agent/system/read-files.ts';
import { scratch } from '../../support/temp-tree.ts';
import { FakeGuest, messageOfCode } from '../../boot/fake-guest.ts';
import { factsOf, imageProblems, loadImages, must, references, type ImageSpec } from '../../boot/fake-store.ts';

const base: ImageSpec = { layers: ['base'], references: ['base:1'] };
const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'] };
const rival: ImageSpec = { layers: ['rival'], references: ['app:1'] };
const tool: ImageSpec = { layers: ['base', 'tool'], references: ['tool:1'] };

describe('several disks', () => {
  it('with one layer under different ids: it is there once', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app], { salt: 'one' });
    guest.attach('dpl-b', [tool], { salt: 'two' });
    const { content } = guest.boot();
    assert.equal(content.layers.size, 3);
    for (const spec of [app, tool]) assert.deepEqual(imageProblems(guest.dataRoot, spec), []);
  });

  it('a layer stays linked to the disk that has it already', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    guest.attach('dpl-b', [app], { rank: 5 });
    const { steps } = guest.boot();
    assert.ok(!steps.some((step) => step.do === 'link-layer'));
  });

  it('a layer moves to the other disk when its own is gone, and nothing else changes', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.attach('dpl-b', [app]);
    guest.boot();
    const diff = (): string =>
      linkTarget(`${overlayPaths(guest.dataRoot).layer(ownLayerNames(must(factsOf(app).chains[0])).cacheId)}/diff`) ??
      '';
    const label = diff().includes('/dpl-a/') ? 'dpl-a' : 'dpl-b';
    guest.detach(label);
    const { steps, findings } = guest.boot();
    assert.deepEqual(findings, []);
    assert.deepEqual([...new Set(steps.map((step) => step.do))], ['write-ledger', 'link-layer']);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  for (const { is, a, b, wins } of [
    { is: 'the later in `labels` has it', a: { rank: 1, priority: 0 }, b: { rank: 0, priority: 9 }, wins: app },
    { is: 'then the higher priority', a: { rank: 1, priority: 1 }, b: { rank: 1, priority: 2 }, wins: rival },
    { is: 'then a priority before none', a: { rank: 1, priority: 1 }, b: { rank: 1 }, wins: app },
    { is: 'then the greater label', a: { rank: 1 }, b: { rank: 1 }, wins: rival },
  ]) {
    it(`with one tag: ${is}`, (t) => {
      const guest = new FakeGuest(scratch(t));
      guest.attach('dpl-a', [app], a);
      guest.attach('dpl-b', [rival], b);
      const planned = guest.boot();
      assert.equal(references(guest.dataRoot).get('app:1'), factsOf(wins).id);
      assert.match(
        messageOfCode(planned, 'TAG_CONFLICT'),
        wins === app
          ? /^app:1: claimed by disks dpl-b and dpl-a; dpl-a has it$/
          : /^app:1: claimed by disks dpl-a and dpl-b; dpl-b has it$/,
      );
      // The loser has no other name: it would be listed as <none>.
      assert.deepEqual(readdirSync(metadataPaths(guest.dataRoot).images), [factsOf(wins).id.slice(7)]);
      assert.deepEqual(guest.plan().steps, []);
    });
  }

  it('with one tag for the same image: no conflict', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.attach('dpl-b', [app]);
    assert.deepEqual(guest.boot().findings, []);
  });

  it('that build on each other: whole together, in either order', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-base', [base]);
    guest.attach('dpl-delta', [app], { bases: [{ label: 'dpl-base', spec: base }] });
    assert.deepEqual(guest.boot().findings, []);
    for (const spec of [base, app]) assert.deepEqual(imageProblems(guest.dataRoot, spec), []);
  });

  it('of which one is missing: it is named, its images are left out, the others work', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-delta', [app, { layers: ['alone'], references: ['alone:1'] }], {
      bases: [{ label: 'dpl-base', spec: base }],
    });
    const planned = guest.boot();
    assert.match(
      messageOfCode(planned, 'IMAGE_INCOMPLETE'),
      /^disk dpl-delta: image app:1 is left out: 1 of its 2 layers is missing \(sha256:[0-9a-f]{12}…\); attach disk dpl-base, which has them$/,
    );
    assert.deepEqual([...references(guest.dataRoot).keys()], ['alone:1']);
    // And once it is attached all is well.
    guest.attach('dpl-base', [base]);
    assert.deepEqual(guest.boot().findings, []);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    guest.detach('dpl-base');
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot).keys()], ['alone:1']);
  });

  it('of which one is missing, but the user has its layer: whole', (t) => {
    const guest = new FakeGuest(scratch(t));
    loadImages(guest.dataRoot, [base]);
    guest.attach('dpl-delta', [app], { bases: [{ label: 'dpl-base', spec: base }] });
    assert.deepEqual(guest.boot().findings, []);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  it('30 of them, with a layer in common', (t) => {
    const guest = new FakeGuest(scratch(t));
    const specs = Array.from({ length: 30 }, (_, index): ImageSpec => ({
      layers: ['base', `of ${index}`],
      references: [`image${index}:1`],
    }));
    for (const [index, spec] of specs.entries()) guest.attach(`dpl-${index}`, [spec]);
    assert.equal(guest.boot().content.layers.size, 31);
    for (const spec of specs) assert.deepEqual(imageProblems(guest.dataRoot, spec), []);
    for (let index = 0; index < 29; index += 1) guest.detach(`dpl-${index}`);
    assert.deepEqual(guest.boot().findings, []);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['image29:1']);
    assert.deepEqual(imageProblems(guest.dataRoot, must(specs[29])), []);
  });
});

describe('an image', () => {
  it('of 125 layers is taken, one of 126 is not', (t) => {
    const guest = new FakeGuest(scratch(t));
    const layers = Array.from({ length: 126 }, (_, index) => `layer ${index}`);
    const deep: ImageSpec = { layers: layers.slice(0, 125), references: ['deep:1'] };
    guest.attach('dpl-a', [deep, { layers, references: ['deeper:1'] }]);
    const planned = guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, deep), []);
    assert.match(messageOfCode(planned, 'IMAGE_INVALID'), /expected at most 125 layers, found 126/);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['deep:1']);
  });

  it("without layers comes and goes with its disk, but not one of the user's", (t) => {
    const guest = new FakeGuest(scratch(t));
    const none: ImageSpec = { layers: [], references: ['none:1'] };
    loadImages(guest.dataRoot, [{ layers: [], note: 'mine', references: ['mine:1'] }]);
    guest.attach('dpl-a', [none]);
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1', 'none:1']);
    assert.deepEqual(guest.plan().steps, []);
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1']);
    assert.equal(readdirSync(metadataPaths(guest.dataRoot).images).length, 1);
  });

  it('that no disk names is a step of a build: it is there, without a name', (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app, { layers: ['base'] }]);
    guest.boot();
    assert.equal(readdirSync(metadataPaths(guest.dataRoot).images).length, 2);
    assert.deepEqual(guest.plan().steps, []);
  });

  it("that shares its layers with another of the user's is linked for nothing", (t) => {
    const guest = new FakeGuest(scratch(t));
    loadImages(guest.dataRoot, [{ ...app, references: ['app:1'] }]);
    guest.attach('dpl-a', [app, { ...app, note: 'another', references: ['other:1'] }]);
    const { content, sharedWithUser } = guest.boot();
    assert.equal(content.layers.size, 0);
    assert.equal(sharedWithUser.size, 2);
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });
});
