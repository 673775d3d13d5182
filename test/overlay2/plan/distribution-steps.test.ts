import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { scratch } from '../../support/temp-tree.ts';
import { FakeGuest } from '../../boot/fake-guest.ts';
import { factsOf, loadImages, must, registryDigest, type ImageSpec, writeFile } from '../../boot/fake-store.ts';
import { readTree } from '../../support/tree.ts';
import { distributionSteps } from '../../../agent/overlay2/plan/distribution-steps.ts';
import type { DiskLayer } from '../../../agent/disk/read-disk.ts';
import { emptyLedger } from '../../../agent/overlay2/store/ledger.ts';
import { Store } from '../../../agent/overlay2/store/store.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1', 'app:latest'] };
const mine: ImageSpec = { layers: ['mine'], references: ['mine:1'] };

function newGuest(t: TestContext): FakeGuest {
  return new FakeGuest(scratch(t));
}

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
      const before = [...readTree(guest.dataRoot).keys()].filter((file) => file.startsWith('image/'));
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
        [...readTree(guest.dataRoot).keys()].filter(
          (file) => /^image\/.*distribution\/.*\/[0-9a-f]{64}$/.test(file) && !before.includes(file),
        ),
        [],
        lost,
      );
    }
  });
});

const { chains, diffIDs } = factsOf({ layers: ['a'] });
const chain = must(chains[0]);
const diffID = must(diffIDs[0]);

describe('where registries have a layer', () => {
  const source = (name: string) => ({
    Digest: `sha256:${name.repeat(64).slice(0, 64)}`,
    SourceRepository: `docker.io/library/${name}`,
    HMAC: '',
  });
  const layer = (text: string | undefined): DiskLayer => ({
    chain,
    diffID,
    parent: undefined,
    size: '1',
    label: 'dpl-a',
    diffPath: '/d/diff',
    tarSplit: undefined,
    registrySources: text,
  });
  const contents = (dataRoot: string, ...texts: readonly (string | undefined)[]): string[] => {
    const layers = new Map([[chain, texts.map((text) => layer(text))]]);
    const { add } = distributionSteps(new Store(dataRoot), emptyLedger, {
      wanted: layers,
      staying: layers,
      removed: [],
    });
    return add.flatMap((step) =>
      step.do === 'write-distribution' && step.path.includes('v2metadata') ? [step.content] : [],
    );
  };

  it("is united, the user's last, and at most 50", (t) => {
    const dataRoot = scratch(t);
    const users = Array.from({ length: 49 }, (_, index) => ({
      ...source('b'),
      SourceRepository: `mirror.example/${index}`,
    }));
    writeFile(metadataPaths(dataRoot).metadataByDiffID(diffID), JSON.stringify(users));
    const [text = ''] = contents(
      dataRoot,
      JSON.stringify([source('c'), source('d')]),
      JSON.stringify([source('c'), source('e')]),
    );
    const united = JSON.parse(text) as { SourceRepository: string }[];
    assert.equal(united.length, 50);
    assert.deepEqual(united.slice(1), users);
    assert.equal(united[0]?.SourceRepository, 'docker.io/library/e');
  });

  for (const text of [
    undefined,
    '',
    '{}',
    '[]',
    '[7,null,{"Digest":"../x","SourceRepository":"a"}]',
    `[{"Digest":"sha256:${'a'.repeat(64)}"}]`,
    '\0\0',
  ]) {
    it(`is not taken from ${JSON.stringify(text)}`, (t) => assert.deepEqual(contents(scratch(t), text), []));
  }
});
