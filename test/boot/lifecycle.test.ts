import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { readLedger } from '../../agent/overlay2/ledger.ts';
import { plan } from '../../agent/overlay2/plan/make-plan.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { emptyLayer, ownLayerNames } from '../../agent/docker/layer-folders.ts';
import { Store } from '../../agent/overlay2/store.ts';
import { scratch } from '../support/scratch.ts';
import { codesOf, FakeGuest, messageOfCode } from './fake-guest.ts';
import {
  addContainer,
  containerConfig,
  factsOf,
  imageProblems,
  loadImages,
  must,
  references,
  registryDigest,
  removeContainer,
  removeImage,
  setReference,
  snapshot,
  type ImageSpec,
} from './fake-store.ts';

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
    const before = snapshot(guest.dataRoot);
    assert.deepEqual(guest.boot().steps, []);
    assert.deepEqual(snapshot(guest.dataRoot), before);
  });

  it('is as it was before when the disk is gone, down to the modes', (t) => {
    const guest = newGuest(t);
    loadImages(guest.dataRoot, [mine]);
    const before = snapshot(guest.dataRoot);
    guest.attach('dpl-a', [{ ...app, source: 'docker.io/library/app' }, tool]);
    guest.boot();
    guest.detach('dpl-a');
    const { findings } = guest.boot();
    assert.deepEqual(findings, []);
    const after = snapshot(guest.dataRoot);
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
    const before = snapshot(guest.dataRoot);
    guest.attach('dpl-a', [app]);
    assert.match(messageOfCode(guest.boot(), 'IMAGE_INCOMPLETE'), /1 of its 2 layers is missing/);
    assert.deepEqual(snapshot(guest.dataRoot), before);
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
      const before = snapshot(guest.dataRoot);
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
      const after = snapshot(guest.dataRoot);
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
    // What is left is a folder that no record of dockerd's has, as a dockerd leaves it that was killed while it loaded an image.
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

describe("registries' sources of layers", () => {
  it("come with the disk, are united with the user's, and go with the layer", (t) => {
    const guest = newGuest(t);
    const paths = metadataPaths(guest.dataRoot);
    loadImages(guest.dataRoot, [{ layers: ['base'], references: ['b:1'], source: 'mirror.example/base' }]);
    guest.attach('dpl-a', [{ ...app, source: 'docker.io/library/app' }]);
    guest.boot();
    const [base, top] = factsOf(app).diffIDs;
    const sources = JSON.parse(readFileSync(paths.metadataByDiffID(must(base)), 'utf8')) as {
      SourceRepository: string;
    }[];
    assert.deepEqual(
      sources.map((source) => source.SourceRepository),
      ['docker.io/library/app', 'mirror.example/base'],
    );
    assert.equal(readFileSync(paths.diffIDByDigest(registryDigest(must(top), 'docker.io/library/app')), 'utf8'), top);
    guest.detach('dpl-a');
    guest.boot();
    assert.equal(existsSync(paths.metadataByDiffID(must(top))), false);
    assert.equal(existsSync(paths.diffIDByDigest(registryDigest(must(top), 'docker.io/library/app'))), false);
    assert.ok(existsSync(paths.metadataByDiffID(must(base))));
  });

  it('stay with a layer that the user has pulled since', (t) => {
    const guest = newGuest(t);
    const paths = metadataPaths(guest.dataRoot);
    guest.attach('dpl-a', [{ ...app, source: 'docker.io/library/app' }]);
    guest.boot();
    const [base, top] = factsOf(app).diffIDs;
    rmSync(paths.layers, { recursive: true });
    loadImages(guest.dataRoot, [app]);
    guest.boot();
    guest.detach('dpl-a');
    guest.boot();
    for (const diffID of [must(base), must(top)]) {
      assert.ok(existsSync(paths.metadataByDiffID(diffID)));
      assert.equal(readFileSync(paths.diffIDByDigest(registryDigest(diffID, 'docker.io/library/app')), 'utf8'), diffID);
    }
  });

  it('go with the layer also where a power cut has left them, and its record, empty', (t) => {
    for (const lost of ['sources', 'sources and records'] as const) {
      const guest = newGuest(t);
      const paths = metadataPaths(guest.dataRoot);
      loadImages(guest.dataRoot, [mine]);
      const before = [...snapshot(guest.dataRoot).keys()].filter((file) => file.startsWith('image/'));
      guest.attach('dpl-a', [{ ...app, source: 'docker.io/library/app' }]);
      guest.boot();
      const empty = (folder: string): void =>
        readdirSync(folder, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .forEach((entry) => writeFileSync(path.join(entry.parentPath, entry.name), ''));
      empty(path.join(paths.root, 'distribution'));
      if (lost !== 'sources') for (const chain of factsOf(app).chains) empty(paths.layer(chain));
      guest.detach('dpl-a');
      guest.boot();
      assert.deepEqual(
        [...snapshot(guest.dataRoot).keys()].filter(
          (file) => /^image\/.*distribution\/.*\/[0-9a-f]{64}$/.test(file) && !before.includes(file),
        ),
        [],
        lost,
      );
    }
  });
});
