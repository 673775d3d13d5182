import assert from 'node:assert/strict';
import { lstatSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { emptyLayer, ownLayerNames } from '../../agent/docker/layer-folders.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { DISK_UPDATED } from './content.ts';
import { Bench, makeScenarios, type Scenario } from './scenarios.ts';
import { torture } from '../support/size.ts';
import { storeProblems } from './store-invariants.ts';
import { differences, readTree, type Tree } from '../support/tree.ts';

/** What a power cut makes of a file whose bytes had not reached the disk; SIGKILL cannot show this. */
const damages: Readonly<Record<string, (file: string) => void>> = {
  emptied: (file) => truncateSync(file, 0),
  halved: (file) => truncateSync(file, Math.floor(lstatSync(file).size / 2)),
  zeroed: (file) => writeFileSync(file, Buffer.alloc(lstatSync(file).size)),
  removed: (file) => rmSync(file),
};
/** In `npm test` the files are damaged in so many lots; in the full size each on its own. */
const LOTS = 4;

describe('a power cut before what was written has reached the disk', () => {
  let bench: Bench;
  let scenario: Scenario;
  let whole: Tree;
  let prepared: string;
  let derived: readonly string[];

  before(async () => {
    bench = await Bench.make();
    const { content, scenarios } = await makeScenarios(bench);
    scenario = scenarios.find((one) => one.name === 'same disk') ?? assert.fail();
    await bench.attach(content.disk);
    await bench.restore(scenario.prepared);
    await bench.apply();
    whole = readTree(bench.dataRoot, 'digest');
    derived = derivedFiles(bench.dataRoot, whole);
    const ledger = path.join(bench.dataRoot, 'docker-preloader/ledger.json');
    writeFileSync(ledger, readFileSync(ledger, 'utf8').replace('"synced":true', '"synced":false'), { mode: 0o600 });
    prepared = await bench.keep('prepared-cut');
  });
  after(cleanUpAll);

  for (const [name, damage] of Object.entries(damages)) {
    it(`is mended by the next run: files ${name}`, async (test) => {
      const files = derived.filter((file) => name === 'removed' || whole.get(file)?.startsWith('file') === true);
      const lots = torture
        ? files.map((file) => [file])
        : Array.from({ length: LOTS }, (_, lot) => files.filter((_file, index) => index % LOTS === lot));
      const problems: string[] = [];
      for (const lot of lots) {
        await bench.restore(prepared);
        for (const file of lot) damage(path.join(bench.dataRoot, file));
        await bench.apply();
        const left = [
          ...differences(whole, readTree(bench.dataRoot, 'digest')),
          ...storeProblems(bench.dataRoot, scenario.user),
        ];
        problems.push(
          ...left.map((problem) => `${lot.length === 1 ? lot.join() : `lot of ${lot.length}`}: ${problem}`),
        );
      }
      test.diagnostic(`${files.length} files ${name}, in ${lots.length} runs`);
      assert.ok(files.length > 40, String(files.length));
      assert.deepEqual(problems, []);
    });
  }

  it("costs nothing of the user's when the ledger itself is damaged", async () => {
    for (const [name, damage] of Object.entries(damages)) {
      await bench.restore(prepared);
      damage(path.join(bench.dataRoot, 'docker-preloader/ledger.json'));
      await bench.apply();
      assert.deepEqual(storeProblems(bench.dataRoot, scenario.user), [], name);
      assert.deepEqual(
        differences(whole, readTree(bench.dataRoot, 'digest')).filter((line) => !line.startsWith('docker-preloader/')),
        [],
        name,
      );
    }
  });
});

/** Files and links that the agent derives from the disk. */
function derivedFiles(dataRoot: string, tree: Tree): string[] {
  const { ledger } = readLedger(dataRoot);
  const names = [...ledger.layers.keys()].map((chain) => ownLayerNames(chain));
  const roots = [
    ...[...names, emptyLayer].flatMap(({ cacheId, link }) => [`overlay2/${cacheId}`, `overlay2/l/${link}`]),
    ...[...ledger.layers.keys()].map((chain) => `image/overlay2/layerdb/sha256/${chain.slice(7)}`),
    ...[...ledger.images.keys()].flatMap((id) =>
      ['content', 'metadata'].map((kind) => `image/overlay2/imagedb/${kind}/sha256/${id.slice(7)}`),
    ),
    ...[...ledger.distribution].map((file) => `image/overlay2/${file}`),
  ];
  return (
    [...tree]
      .filter(
        ([file, entry]) =>
          !entry.startsWith('folder') && roots.some((root) => file === root || file.startsWith(`${root}/`)),
      )
      // What the user's dockerd has written anew is not derived any more.
      .filter(([file, entry]) => !file.endsWith('/lastUpdated') || entry.endsWith(DISK_UPDATED))
      .map(([file]) => file)
  );
}
