import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { statusDocument } from '../../agent/status/status-document.ts';
import { eventsOf } from '../../agent/status/journal-entries.ts';
import { aRun, finding, foundDisk, later } from './a-run.ts';

describe('what a status tells the journal', () => {
  it('is each disk that was found and mounted, each finding, and last the whole in one line', (t) => {
    const run = aRun(t, {
      findings: [finding('DISK_DIRTY', 'why', { label: 'dpl-x', device: '/dev/vdx' })],
      candidates: [foundDisk('dpl-x', 'vdx')],
    });
    const status = statusDocument(run, later(run, 1));
    assert.deepEqual(
      eventsOf(status).map(({ name }) => name),
      ['DISK_FOUND', 'DISK_MOUNTED', 'DISK_FOUND', 'DISK_DIRTY', 'DEGRADED'],
    );
    assert.deepEqual(
      eventsOf(status).map(({ fields }) => [fields['LABEL'], fields['DEVICE']]),
      [
        ['dpl-a', '/dev/vdb'],
        ['dpl-a', '/dev/vdb'],
        ['dpl-x', '/dev/vdx'],
        ['dpl-x', '/dev/vdx'],
        [undefined, undefined],
      ],
    );
    assert.equal(eventsOf(status).at(-1)?.message, status.summary);
    assert.deepEqual(eventsOf(status).at(-1)?.fields, {
      STATE: 'degraded',
      DISKS: 1,
      IMAGES: 1,
      CHANGES: status.changes,
      PENDING: 0,
    });
  });

  it('names what makes the changes that wait: a start of Docker, or for containerd alone apply', (t) => {
    const run = aRun(t, { applied: false });
    const status = statusDocument(run, later(run, 1));
    const inContainerd = { store: 'containerd', namespace: 'k8s.io', pending: 2 } as const;
    const pendingOf = (...stores: typeof status.stores): string | undefined =>
      eventsOf({ ...status, pending: ['one', 'two'], stores }).find(({ name }) => name === 'PENDING')?.message;
    const [overlay2] = status.stores;
    assert.ok(overlay2 !== undefined && overlay2.pending > 0);
    const namespace = { ...overlay2, ...inContainerd };
    const byDocker = "2 changes wait for Docker's next start; run: systemctl restart docker";
    const byApply = '2 changes wait to be made in containerd; run: docker-preloader apply';
    assert.equal(pendingOf(overlay2), byDocker);
    assert.equal(pendingOf(overlay2, namespace), byDocker);
    assert.equal(pendingOf({ ...overlay2, pending: 0 }, namespace), byApply);
    assert.equal(pendingOf(namespace), byApply);
  });

  it('is only what is new, where something was told before', (t) => {
    const run = aRun(t, { findings: [finding('TAG_CONFLICT')] });
    const status = statusDocument(run, later(run, 1));
    assert.deepEqual(
      eventsOf(status, status).map(({ name }) => name),
      ['READY'],
    );
    const came = {
      ...status,
      disks: [...status.disks, ...status.disks.map((disk) => ({ ...disk, label: 'dpl-b', device: '/dev/vdc' }))],
      findings: [...status.findings, finding('KEPT', 'new')],
    };
    assert.deepEqual(
      eventsOf(came, status).map(({ name }) => name),
      ['DISK_FOUND', 'DISK_MOUNTED', 'KEPT', 'READY'],
    );
    assert.deepEqual(
      eventsOf(status, came).map(({ name, fields }) => [name, fields['LABEL']]),
      [
        ['DISK_GONE', 'dpl-b'],
        ['READY', undefined],
      ],
    );
  });
});
