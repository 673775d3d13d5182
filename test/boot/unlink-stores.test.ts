import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { emptyLedger, readLedger, writeLedger } from '../../agent/overlay2/store/ledger.ts';
import { preload } from '../../agent/boot/preload.ts';
import { unlinkStores } from '../../agent/boot/unlink-stores.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { attach } from '../support/loop-device.ts';
import { scratch } from '../support/temp-tree.ts';
import { configOf, FakeGuest, runDockerd } from './fake-guest.ts';
import { imageProblems, loadImages, references, type ImageSpec } from './fake-store.ts';
import { readTree } from '../support/tree.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'], source: 'docker.io/library/app' };
const built: ImageSpec = { layers: ['base', 'app', 'built'], references: ['built:1'] };
const mine: ImageSpec = { layers: ['mine'], references: ['mine:1'] };

describe('unlinking', () => {
  it("takes out all that is ours, and keeps what the user stands on, with the disk's name", async (t) => {
    const guest = new FakeGuest(scratch(t));
    loadImages(guest.dataRoot, [mine]);
    guest.attach('dpl-a', [app]);
    guest.boot();
    const { steps, findings } = await unlinkStores(configOf(guest));
    assert.ok(steps > 0);
    assert.deepEqual(findings, []);
    assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1']);
    assert.deepEqual(imageProblems(guest.dataRoot, mine), []);
    assert.equal((await unlinkStores(configOf(guest))).steps, 0);

    guest.boot();
    loadImages(guest.dataRoot, [built]);
    const kept = await unlinkStores(configOf(guest));
    assert.deepEqual(
      kept.findings.map((finding) => finding.code),
      ['KEPT'],
    );
    // The disk is still there: what stands on it works on.
    assert.deepEqual(imageProblems(guest.dataRoot, built), []);
    assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), ['built:1', 'mine:1']);
  });

  it('knows the disk of what it keeps also when the ledger is lost: that stays mounted', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    loadImages(guest.dataRoot, [built]);
    rmSync(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
    const { findings } = await unlinkStores(configOf(guest));
    assert.deepEqual(
      findings.map((finding) => [finding.code, finding.label]),
      [['KEPT', 'dpl-a']],
    );
  });

  it('leaves nothing where the ledger is lost and the disk is there, which tells what is its own', async (t) => {
    const guest = new FakeGuest(scratch(t));
    const label = `u${process.pid.toString(36)}`;
    const folder = scratch(t);
    const at = (name: string): string => path.join(folder, name);
    loadImages(at('tree'), [app]);
    await makeDiskFile(at('tree'), at('disk.ext4'), label);
    const { detach } = await attach(at('disk.ext4'));
    const config = { ...configOf(guest), labels: [label], mountRoot: at('disks') };
    try {
      loadImages(guest.dataRoot, [mine]);
      for (const damage of [(file: string) => rmSync(file), (file: string) => writeFileSync(file, '{')]) {
        await preload(config, { wait: false, change: 'stopped' });
        assert.deepEqual([...references(guest.dataRoot).keys()].toSorted(), ['app:1', 'mine:1']);
        damage(path.join(guest.dataRoot, 'docker-preloader/ledger.json'));
        assert.deepEqual((await unlinkStores(config)).findings, []);
        assert.deepEqual([...references(guest.dataRoot).keys()], ['mine:1']);
        assert.equal(readLedger(guest.dataRoot).state, 'none');
      }
    } finally {
      await detach();
    }
  });

  it('keeps no removals in mind', async (t) => {
    const guest = new FakeGuest(scratch(t));
    writeLedger(guest.dataRoot, { ...emptyLedger, removed: new Map([['app:1', `sha256:${'a'.repeat(64)}` as never]]) });
    await unlinkStores({ ...configOf(guest), removedImages: 'respect' });
    assert.equal(readLedger(guest.dataRoot).state, 'none');
  });

  it('refuses while dockerd runs, in one line, and changes nothing', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    const dockerd = runDockerd(guest.dataRoot);
    const before = readTree(guest.dataRoot);
    await assert.rejects(unlinkStores(configOf(guest)), {
      code: 'DOCKER_RUNNING',
      message: /^dockerd is running on .*: expected a stopped one; run: systemctl stop docker\.socket docker$/,
    });
    assert.deepEqual(readTree(guest.dataRoot), before);
    dockerd.stop();
  });

  it("leaves the store of a containerd that was uninstalled as it is, says so, and takes out of dockerd's own", async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    writeFileSync(path.join(guest.dataRoot, 'docker-preloader/containerd-0123456789ab.json'), '{}');
    const gone = path.join(guest.dataRoot, 'no-containerd');
    const { steps, findings } = await unlinkStores({
      ...configOf(guest),
      containerdAddress: `${gone}.sock`,
      containerdProgram: gone,
    });
    assert.ok(steps > 0);
    assert.deepEqual([...references(guest.dataRoot).keys()], []);
    assert.deepEqual(
      findings.map(({ code, message }) => [code, message.includes(`no program '${gone}'`)]),
      [['STORE_UNSUPPORTED', true]],
    );
  });

  it('makes nothing where there is no data root', async (t) => {
    const guest = new FakeGuest(scratch(t));
    assert.deepEqual(await unlinkStores(configOf(guest)), { steps: 0, findings: [] });
  });
});
