import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { emptyLayer } from '../../agent/docker/layer-folders.ts';
import { scratch } from '../support/temp-tree.ts';
import { codesOf, FakeGuest, messageOfCode } from '../boot/fake-guest.ts';
import {
  addContainer,
  factsOf,
  imageProblems,
  loadImages,
  must,
  references,
  removeImage,
  setReference,
  type ImageSpec,
} from '../boot/fake-store.ts';
import { readTree } from '../support/tree.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1', 'app:latest'] };
const app2: ImageSpec = { layers: ['base', 'app of version 2'], references: ['app:latest'] };
const tool: ImageSpec = { layers: ['base', 'tool', 'more of the tool'], references: ['registry:5000/x/tool:3'] };
const mine: ImageSpec = { layers: ['mine'], references: ['mine:1'] };

function newGuest(t: TestContext): FakeGuest {
  return new FakeGuest(scratch(t));
}

describe('the store over boots', () => {
  it("gets what is on the disk, and keeps what is the user's", (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [app, tool]);
    const { steps, content } = guest.boot();
    for (const spec of [app, tool, mine]) assert.deepEqual(imageProblems(guest.dataRoot, spec), []);
    assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), [
      'app:1',
      'app:latest',
      'mine:1',
      'registry:5000/x/tool:3',
    ]);
    assert.equal(content.layers.size, 4);
    assert.equal(steps.at(-1)?.do, 'write-ledger');
    // The reference store comes after everything that it names.
    assert.equal(
      steps.findIndex((step) => step.do === 'write-references'),
      steps.length - 2,
    );
  });

  it('does nothing on a second pass, whether the first has reached the disk or not', (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [{ ...app, source: 'docker.io/library/app' }, tool]);
    guest.boot();
    assert.deepEqual(guest.plan().steps, []);
    const file = path.join(guest.dataRoot, 'docker-preloader/ledger.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"synced":false', '"synced":true'));
    assert.equal(readLedger(guest.dataRoot).ledger.synced, true);
    assert.deepEqual(guest.plan().steps, []);
  });

  it('makes nothing at all where there is no disk', (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [mine]);
    const before = readTree(guest.dataRoot);
    assert.deepEqual(guest.boot().steps, []);
    assert.deepEqual(readTree(guest.dataRoot), before);
  });

  it('is as it was before when the disk is gone, down to the modes', (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [mine]);
    const before = readTree(guest.dataRoot);
    guest.attach('dpl-a', [{ ...app, source: 'docker.io/library/app' }, tool]);
    guest.boot();
    guest.detach('dpl-a');
    const { findings } = guest.boot();
    assert.deepEqual(findings, []);
    const after = new Map(readTree(guest.dataRoot));
    for (const [file, kind] of after) if (kind.startsWith('folder') && !before.has(file)) after.delete(file);
    assert.deepEqual(after, before);
    assert.deepEqual(guest.plan().steps, []);
  });

  it('follows an upgrade of the disk and removes what it no longer has', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app, tool]);
    guest.boot();
    guest.attach('dpl-a', [app2]);
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot)], [['app:latest', factsOf(app2).id]]);
    assert.deepEqual(imageProblems(guest.dataRoot, app2), []);
    assert.deepEqual(
      readdirSync(metadataPaths(guest.dataRoot).layers).toSorted(),
      factsOf(app2)
        .chains.map((chain) => chain.slice(7))
        .toSorted(),
    );
    assert.deepEqual(guest.plan().steps, []);
  });

  it('links a disk anew that dockerd wrote again, under the same names', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const names = readdirSync(path.join(guest.dataRoot, 'overlay2')).toSorted();
    addContainer(guest.dataRoot, 'c', app);
    guest.attach('dpl-a', [app], { salt: 'another time' });
    const { steps } = guest.boot();
    assert.deepEqual(
      steps.map((step) => step.do),
      ['write-ledger', 'link-layer', 'link-layer', 'write-ledger'],
    );
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    for (const name of names) assert.ok(existsSync(path.join(guest.dataRoot, 'overlay2', name)));
  });

  it('uses a layer that the user has, by its own names', (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [{ layers: ['base'], references: ['base:1'] }]);
    guest.attach('dpl-a', [app]);
    const { sharedWithUser, content } = guest.boot();
    assert.deepEqual([...sharedWithUser], [factsOf(app).chains[0]]);
    assert.deepEqual([...content.layers.keys()], [factsOf(app).chains[1]]);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, { layers: ['base'], references: ['base:1'] }), []);
  });

  it('leaves a layer of the user alone whose files are not there, and with it the images on it', (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [app]);
    const cacheId = readFileSync(
      `${metadataPaths(guest.dataRoot).layer(must(factsOf(app).chains[1]))}/cache-id`,
      'utf8',
    );
    rmSync(path.join(guest.dataRoot, 'overlay2', cacheId), { recursive: true });
    const before = readTree(guest.dataRoot);
    guest.attach('dpl-a', [app]);
    assert.match(messageOfCode(guest.boot(), 'IMAGE_INCOMPLETE'), /1 of its 2 layers is missing/);
    assert.deepEqual(readTree(guest.dataRoot), before);
  });

  it('replaces what the preloader of 2018 has left: records that are symlinks, which dockerd passes over', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    const paths = metadataPaths(guest.dataRoot);
    mkdirSync(paths.layers, { recursive: true });
    for (const chain of factsOf(app).chains)
      symlinkSync(metadataPaths(guest.diskPath('dpl-a')).layer(chain), paths.layer(chain));
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  it('takes the empty layer away with the last layer of ours', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    assert.ok(existsSync(path.join(guest.dataRoot, 'overlay2', emptyLayer.cacheId)));
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual(readdirSync(path.join(guest.dataRoot, 'overlay2')), ['l']);
    assert.deepEqual(readdirSync(path.join(guest.dataRoot, 'overlay2/l')), []);
    assert.equal(existsSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json')), false);
  });

  it("treats an image that was removed and loaded as the user's", (t) => {
    const guest = newGuest(t);
    guest.config = { conflicts: 'user', removedImages: 'restore', prunedImages: 'respect' };
    guest.attach('dpl-a', [app]);
    guest.boot();
    removeImage(guest.dataRoot, 'app:1');
    removeImage(guest.dataRoot, 'app:latest');
    loadImages(guest.dataRoot, [app]);
    assert.deepEqual(guest.boot().content.layers, new Map());
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['app:1', 'app:latest']);
  });

  for (const [is, own] of [
    ['a digest', `app@sha256:${'d'.repeat(64)}`],
    ['another tag', 'app:latest'],
  ] as const) {
    it(`leaves the user his tag where a disk names the same image, and by ${is}, too`, (t) => {
      const guest = newGuest(t);
      const users: ImageSpec = { ...app, references: ['app:1'] };
      loadImages(guest.dataRoot, [users]);
      const before = readTree(guest.dataRoot);
      guest.attach('dpl-a', [{ ...app, references: ['app:1', own] }]);
      // The first boot names his image, the next ones must not take his own name for one of these.
      for (let boot = 0; boot < 3; boot += 1) guest.boot();
      assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), ['app:1', own].toSorted());
      assert.deepEqual(guest.plan().steps, []);
      guest.attach('dpl-a', [{ ...app2, references: ['app:1', own] }]);
      assert.deepEqual(codesOf(guest.boot()), ['TAG_CONFLICT']);
      assert.equal(references(guest.dataRoot).get('app:1'), factsOf(app).id);
      assert.equal(references(guest.dataRoot).get(own), factsOf(app2).id);
      guest.detach('dpl-a');
      guest.boot();
      assert.deepEqual(references(guest.dataRoot), new Map([['app:1', factsOf(app).id]]));
      const after = new Map(readTree(guest.dataRoot));
      for (const [file, kind] of after) if (kind.startsWith('folder') && !before.has(file)) after.delete(file);
      assert.deepEqual(new Set(after.keys()), new Set(before.keys()));
    });
  }

  it('leaves the user a name that he gave to an image of ours before another disk had it', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [{ ...app, references: ['app:1'] }]);
    guest.boot();
    setReference(guest.dataRoot, 'own:1', factsOf(app).id);
    guest.attach('dpl-b', [{ ...app, references: ['own:1'] }]);
    guest.boot();
    assert.deepEqual(guest.plan().steps, []);
    for (const label of ['dpl-a', 'dpl-b']) guest.detach(label);
    guest.boot();
    assert.deepEqual(references(guest.dataRoot), new Map([['own:1', factsOf(app).id]]));
  });

  it('keeps what the user has loaded again under a tag that a disk had taken from him', (t) => {
    const guest = newGuest(t);
    guest.config = { conflicts: 'disk', removedImages: 'restore' };
    loadImages(guest.dataRoot, [{ ...mine, references: ['app:1'] }]);
    guest.attach('dpl-a', [{ ...app, references: ['app:1'] }]);
    guest.boot();
    loadImages(guest.dataRoot, [{ ...app, references: ['app:1'] }]);
    assert.deepEqual(codesOf(guest.boot()), ['TAG_CONFLICT']);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), ['KEPT']);
    assert.deepEqual(references(guest.dataRoot), new Map([['app:1', factsOf(app).id]]));
  });

  it('keeps files that dockerd has added to records and images of ours', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const updated = `${metadataPaths(guest.dataRoot).imageMetadata(factsOf(app).id)}/lastUpdated`;
    writeFileSync(updated, '2026-10-10T00:00:00Z');
    writeFileSync(`${metadataPaths(guest.dataRoot).layer(must(factsOf(app).chains[0]))}/descriptor.json`, '{}');
    assert.deepEqual(guest.boot().steps, []);
    assert.equal(readFileSync(updated, 'utf8'), '2026-10-10T00:00:00Z');
  });
});
