import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { syncStore } from '../../agent/overlay2/sync-store.ts';
import { scratch } from '../support/temp-tree.ts';
import { FakeGuest } from '../boot/fake-guest.ts';
import { type ImageSpec } from '../boot/fake-store.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'], source: 'docker.io/library/app' };

describe('syncing', () => {
  it('notes in the ledger that all has reached the disk, and nothing else changes', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    const before = readLedger(guest.dataRoot).ledger;
    assert.equal(before.synced, false);
    await syncStore(guest.dataRoot);
    assert.deepEqual(readLedger(guest.dataRoot).ledger, { ...before, synced: true });
    assert.deepEqual(guest.plan().steps, []);
  });

  it('says nothing of a run that was killed, and makes no ledger where there is none', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot(3);
    await syncStore(guest.dataRoot);
    assert.equal(readLedger(guest.dataRoot).ledger.synced, false);
    const empty = path.join(scratch(t), 'docker');
    await syncStore(empty);
    assert.equal(readLedger(empty).state, 'none');
  });

  it('is undone by the next change', async (t) => {
    const guest = new FakeGuest(scratch(t));
    guest.attach('dpl-a', [app]);
    guest.boot();
    await syncStore(guest.dataRoot);
    guest.attach('dpl-b', [{ layers: ['more'], references: ['more:1'] }]);
    guest.boot();
    assert.equal(readLedger(guest.dataRoot).ledger.synced, false);
  });
});
