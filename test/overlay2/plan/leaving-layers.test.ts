import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { readLedger } from '../../../agent/overlay2/store/ledger.ts';
import { plan } from '../../../agent/overlay2/plan/make-plan.ts';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { emptyLayer, ownLayerNames } from '../../../agent/docker/layer-folders.ts';
import { Store } from '../../../agent/overlay2/store/store.ts';
import { scratch } from '../../support/temp-tree.ts';
import { codesOf, FakeGuest, messageOfCode } from '../../boot/fake-guest.ts';
import {
  addContainer,
  containerConfig,
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

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1', 'app:latest'] };
const tool: ImageSpec = { layers: ['base', 'tool', 'more of the tool'], references: ['registry:5000/x/tool:3'] };

function newGuest(t: TestContext): FakeGuest {
  return new FakeGuest(scratch(t));
}

describe('what the user stands on', () => {
  const onApp: ImageSpec = { layers: [...app.layers, 'built by the user'], references: ['built:1'] };

  it('is named by `unlink`, which does not take the disk for one that has changed', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    addContainer(guest.dataRoot, 'mine', app);
    const unlinked = (): string =>
      plan({
        store: new Store(guest.dataRoot),
        ledger: readLedger(guest.dataRoot),
        disks: [],
        config: { prunedImages: 'restore', ...guest.config },
        forget: true,
      })
        .findings.map(({ code, message }) => `${code} ${message}`)
        .join('\n');
    assert.match(
      unlinked(),
      /^KEPT 2 layers of disk dpl-a stay in the store, since container mine stands on them; to let go of them, start Docker, remove what stands there; then stop Docker and run: docker-preloader unlink$/,
    );
    loadImages(guest.dataRoot, [onApp]);
    assert.match(unlinked(), /since container mine, image built:1 stand on them; /);
  });

  it('stays for an image that was built on it, and is named', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app, tool]);
    guest.boot();
    loadImages(guest.dataRoot, [onApp]);
    guest.detach('dpl-a');
    const planned = guest.boot();
    assert.deepEqual(codesOf(planned), ['KEPT']);
    assert.match(
      messageOfCode(planned, 'KEPT'),
      /^disk dpl-a no longer has 2 layers that image built:1 stands on; they stay/,
    );
    assert.deepEqual([...references(guest.dataRoot).keys()], ['built:1']);
    assert.deepEqual([...planned.kept.keys()].toSorted(), factsOf(app).chains.toSorted());
    // Nothing of it is lost, and as soon as the disk is there again it works.
    assert.deepEqual(guest.plan().steps, []);
    guest.attach('dpl-a', [app, tool]);
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, onApp), []);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  it('stays for a container, with the image that it was made from', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const container = addContainer(guest.dataRoot, 'c', app);
    guest.detach('dpl-a');
    const planned = guest.boot();
    assert.match(messageOfCode(planned, 'KEPT'), /container c stands on/);
    assert.ok(existsSync(metadataPaths(guest.dataRoot).image(factsOf(app).id)));
    for (const chain of factsOf(app).chains) assert.ok(existsSync(metadataPaths(guest.dataRoot).layer(chain)));
    removeContainer(guest.dataRoot, container);
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.equal(existsSync(metadataPaths(guest.dataRoot).image(factsOf(app).id)), false);
  });

  it('does not stay for what a dockerd that was killed has left of a container', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    rmSync(containerConfig(guest.dataRoot, addContainer(guest.dataRoot, 'half', app)));
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual(readdirSync(metadataPaths(guest.dataRoot).layers), []);
    assert.deepEqual(guest.plan().steps, []);
  });

  it('stays for a foreign `lower`, the empty layer too', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    // A layer that only BuildKit knows of: there is no image for it.
    loadImages(guest.dataRoot, [onApp]);
    const paths = metadataPaths(guest.dataRoot);
    const top = must(factsOf(onApp).chains[2]);
    const folder = path.join(guest.dataRoot, 'overlay2', readFileSync(`${paths.layer(top)}/cache-id`, 'utf8'));
    const cacheFolder = path.join(path.dirname(folder), 'a1b2c3d4e5f6g7h8i9j0k1l2m');
    cpSync(folder, cacheFolder, { recursive: true });
    rmSync(paths.image(factsOf(onApp).id));
    rmSync(paths.layer(top), { recursive: true });
    setReference(guest.dataRoot, 'built:1', undefined);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), ['BUILD_CACHE']);
    for (const chain of factsOf(app).chains)
      assert.ok(existsSync(path.join(guest.dataRoot, 'overlay2', ownLayerNames(chain).cacheId)));
    assert.ok(existsSync(path.join(guest.dataRoot, 'overlay2', emptyLayer.cacheId)));
    // What is left is a folder that no record of dockerd's has, as a dockerd leaves it that was killed while it loaded
    // an image.
    rmSync(cacheFolder, { recursive: true });
    assert.ok(existsSync(folder));
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual(readdirSync(paths.layers), []);
    assert.ok(!existsSync(path.join(guest.dataRoot, 'overlay2', emptyLayer.cacheId)));
  });

  it('is linked to another disk that has it', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    loadImages(guest.dataRoot, [onApp]);
    guest.detach('dpl-a');
    // Another image with the layers below, under other ids.
    guest.attach('dpl-b', [{ layers: [...app.layers, 'other'], references: ['other:1'] }]);
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual(imageProblems(guest.dataRoot, onApp), []);
  });

  it('is linked to another disk that has it, also where the layer below is lost', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    loadImages(guest.dataRoot, [onApp]);
    guest.detach('dpl-a');
    guest.attach('dpl-b', [{ layers: [...app.layers, 'other'], references: ['other:1'] }], {
      bases: [{ label: 'dpl-base', spec: { layers: ['base'], references: [] } }],
    });
    const [base, top] = factsOf(app).chains.map((chain) =>
      path.join(guest.dataRoot, 'overlay2', ownLayerNames(chain).cacheId),
    );
    const lower = readFileSync(`${top ?? ''}/lower`, 'utf8');
    const planned = guest.boot();
    assert.deepEqual(codesOf(planned).toSorted(), ['IMAGE_INCOMPLETE', 'KEPT']);
    assert.match(messageOfCode(planned, 'KEPT'), /^disk dpl-a no longer has 1 layer that image built:1 stands on/);
    assert.ok(
      !existsSync(`${base ?? ''}/diff`) && readlinkSync(`${base ?? ''}/diff`).startsWith(guest.diskPath('dpl-a')),
      'kept as it was',
    );
    assert.equal(readFileSync(`${top ?? ''}/diff/file`, 'utf8'), 'app', 'read from the other disk');
    assert.ok(readlinkSync(`${top ?? ''}/diff`).startsWith(guest.diskPath('dpl-b')));
    assert.equal(readFileSync(`${top ?? ''}/lower`, 'utf8'), lower, 'above the same layer');
    guest.attach('dpl-a', [app]);
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual(imageProblems(guest.dataRoot, onApp), []);
  });

  it('stays when the user has given the image a name of his own', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    setReference(guest.dataRoot, 'own-name:1', factsOf(app).id);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), ['KEPT']);
    assert.deepEqual([...references(guest.dataRoot)], [['own-name:1', factsOf(app).id]]);
    guest.attach('dpl-a', [app]);
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    guest.detach('dpl-a');
    guest.boot();
    assert.deepEqual([...references(guest.dataRoot)], [['own-name:1', factsOf(app).id]]);
  });

  it('stays with its image where a classic build has made another of it: dockerd removes no parent of an image, and fails at one that is not there', (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const step: ImageSpec = { layers: [...app.layers, 'copied'] };
    const built: ImageSpec = { layers: step.layers, note: 'a label', references: ['built:1'] };
    loadImages(guest.dataRoot, [step, built]);
    const parentFile = (spec: ImageSpec): string =>
      `${metadataPaths(guest.dataRoot).imageMetadata(factsOf(spec).id)}/parent`;
    writeFileSync(parentFile(step), factsOf(app).id);
    writeFileSync(parentFile(built), factsOf(step).id);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), ['KEPT']);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['built:1']);
    assert.ok(existsSync(metadataPaths(guest.dataRoot).image(factsOf(app).id)), 'the image that he has built on');
    assert.deepEqual(guest.plan().steps, []);
    removeImage(guest.dataRoot, 'built:1');
    setReference(guest.dataRoot, 'step:1', factsOf(step).id);
    removeImage(guest.dataRoot, 'step:1');
    guest.boot();
    assert.ok(!existsSync(metadataPaths(guest.dataRoot).image(factsOf(app).id)), 'nothing is built on it any more');
  });

  it('stays with its image where the user has named it and a disk has taken that name', (t) => {
    const guest = newGuest(t);
    guest.config = { conflicts: 'disk', removedImages: 'restore' };
    guest.attach('dpl-a', [app]);
    guest.boot();
    setReference(guest.dataRoot, 'tool:1', factsOf(app).id);
    guest.attach('dpl-b', [{ ...tool, references: ['tool:1'] }]);
    guest.boot();
    guest.detach('dpl-a');
    for (let boot = 0; boot < 2; boot += 1) assert.ok(codesOf(guest.boot()).includes('KEPT'));
    guest.detach('dpl-b');
    guest.boot();
    assert.deepEqual(references(guest.dataRoot), new Map([['tool:1', factsOf(app).id]]));
    guest.attach('dpl-a', [app]);
    guest.boot();
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
  });

  it("does not count where the record is the user's and only a folder of ours is left", (t) => {
    const guest = newGuest(t);
    guest.attach('dpl-a', [app]);
    guest.boot(4);
    rmSync(metadataPaths(guest.dataRoot).layers, { recursive: true });
    loadImages(guest.dataRoot, [app]);
    guest.detach('dpl-a');
    assert.deepEqual(codesOf(guest.boot()), []);
    assert.deepEqual(imageProblems(guest.dataRoot, app), []);
    assert.equal(
      existsSync(path.join(guest.dataRoot, 'overlay2', ownLayerNames(must(factsOf(app).chains[0])).cacheId)),
      false,
    );
  });
});
