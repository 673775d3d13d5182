import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Preload } from '../../agent/boot/preload.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import { eventsOf } from '../../agent/status/journal-entries.ts';
import type { DiskStatus, ImageStatus, StatusDocument } from '../../agent/status/schema.ts';
import { factsOf, type ImageSpec } from '../boot/fake-store.ts';
import { app, aRun, finding, foundDisk, later, type RunOptions } from './a-run.ts';

const rival: ImageSpec = { layers: ['rival'], references: ['app:1'] };
const tool: ImageSpec = { layers: ['base', 'tool'], references: ['tool:1'] };

function documentOf(t: TestContext, change: Partial<Preload> = {}, options: RunOptions = {}): StatusDocument {
  const run = aRun(t, change, options);
  return statusDocument(run, later(run, 7));
}

const disk = (status: StatusDocument, label: string): DiskStatus | undefined =>
  status.disks.find((one) => one.label === label);
const image = (status: StatusDocument, spec: ImageSpec): ImageStatus | undefined =>
  status.images.find((one) => one.id === factsOf(spec).id);

describe('a disk in the status', () => {
  for (const { is, label = 'dpl-x', there = [], found, expected } of [
    {
      is: 'that is dirty',
      there: ['vdx'],
      found: [finding('DISK_DIRTY', 'why', { label: 'dpl-x', device: '/dev/vdx' })],
      expected: {
        state: 'refused',
        device: '/dev/vdx',
        filesystem: 'erofs',
        sizeBytes: 8192,
        mountPoint: null,
        error: { code: 'DISK_DIRTY', message: 'why' },
      },
    },
    {
      is: 'with an odd label',
      label: 'odd\u001b[2J',
      there: ['vdx'],
      found: [finding('LABEL_INVALID', 'why', { device: '/dev/vdx' })],
      expected: {
        label: 'odd\\x1b[2J',
        state: 'refused',
        device: '/dev/vdx',
        error: { code: 'LABEL_INVALID', message: 'why' },
      },
    },
    {
      is: 'that cannot be mounted',
      there: ['vdx'],
      found: [finding('MOUNT_FAILED', 'why', { label: 'dpl-x', device: '/dev/vdx' })],
      expected: { state: 'refused', error: { code: 'MOUNT_FAILED', message: 'why' } },
    },
    {
      is: 'that was pulled out',
      found: [finding('DISK_LOST', 'why', { label: 'dpl-x' })],
      expected: {
        state: 'lost',
        device: null,
        filesystem: null,
        sizeBytes: null,
        error: { code: 'DISK_LOST', message: 'why' },
      },
    },
    {
      is: 'that is awaited',
      found: [finding('DISK_MISSING', 'why', { label: 'dpl-x' })],
      expected: { state: 'missing', device: null, error: { code: 'DISK_MISSING', message: 'why' } },
    },
    {
      is: 'that is required',
      found: [finding('REQUIRED_MISSING', 'why', { label: 'dpl-x' })],
      expected: { state: 'missing', error: { code: 'REQUIRED_MISSING', message: 'why' } },
    },
    {
      is: 'that is gone, but needed',
      found: [finding('KEPT', 'why', { label: 'dpl-x' }), finding('REQUIRED_MISSING', 'later', { label: 'dpl-x' })],
      expected: { state: 'missing', error: { code: 'KEPT', message: 'why' } },
    },
  ] as const) {
    it(`${is} is there with its reason`, (t) => {
      const candidates = there.map((name) => foundDisk(label, name));
      const { disks } = documentOf(t, { findings: found, candidates: [...aRun(t).candidates, ...candidates] });
      assert.deepEqual(
        disks.map(({ state }) => state),
        ['in-use', expected.state],
      );
      assert.partialDeepStrictEqual(disks[1], { label, images: 0, layers: 0, ...expected });
    });
  }

  it('of a label that is there twice: both, with what was found', (t) => {
    const twice = finding('LABEL_DUPLICATE', 'why', { label: 'dpl-x', device: '/dev/vdx, /dev/vdy' });
    const { disks } = documentOf(t, {
      findings: [twice],
      candidates: [foundDisk('dpl-x', 'vdx'), foundDisk('dpl-x', 'vdy')],
    });
    assert.deepEqual(
      disks.slice(1).map(({ device, state, error }) => [device, state, error?.code]),
      [
        ['/dev/vdx', 'refused', 'LABEL_DUPLICATE'],
        ['/dev/vdy', 'refused', 'LABEL_DUPLICATE'],
      ],
    );
  });

  it('that came later is pending, and the others stay in use', (t) => {
    const run = aRun(t, { applied: false }, { disks: { 'dpl-a': [app], 'dpl-b': [tool] } });
    const steps = (run.plan?.steps ?? [])
      .filter((step) => !('label' in step) || step.label === 'dpl-b')
      .filter((step) => step.do !== 'write-references');
    assert.ok(run.plan !== undefined);
    const status = statusDocument({ ...run, plan: { ...run.plan, steps } }, 1);
    // The layer that both have is linked to the disk of precedence: without it, the image of the other is pending, too.
    assert.deepEqual(
      [disk(status, 'dpl-b')?.state, image(status, tool)?.usable, image(status, tool)?.code],
      ['pending', false, 'PENDING'],
    );
    const settled = statusDocument({ ...run, plan: { ...run.plan, steps: [] } }, 1);
    assert.deepEqual(
      settled.disks.map(({ state }) => state),
      ['in-use', 'in-use'],
    );
  });

  it('counts the layers that the store has from the user or another disk', (t) => {
    const status = documentOf(
      t,
      {},
      { disks: { 'dpl-a': [app], 'dpl-b': [tool] }, user: [{ layers: ['base'], references: ['mine:1'] }] },
    );
    assert.deepEqual(
      status.disks.map(({ layers, sharedLayers }) => [layers, sharedLayers]),
      [
        [2, 1],
        [2, 1],
      ],
    );
    const two = documentOf(t, {}, { disks: { 'dpl-a': [app], 'dpl-b': [tool] } });
    assert.equal(
      two.disks.reduce((sum, { sharedLayers }) => sum + sharedLayers, 0),
      1,
    );
  });

  it('that is used, but not whole, has its error, too', (t) => {
    const status = documentOf(t, { findings: [finding('LAYER_INVALID', 'why', { label: 'dpl-a' })] });
    assert.partialDeepStrictEqual(disk(status, 'dpl-a'), {
      state: 'in-use',
      error: { code: 'LAYER_INVALID', message: 'why' },
    });
  });

  it('is unused where the store could not be filled', (t) => {
    for (const change of [{ plan: undefined }, {}]) {
      const status = documentOf(t, { ...change, applied: false, findings: [finding('STORE_INVALID', 'why')] });
      assert.partialDeepStrictEqual(status.disks[0], {
        state: 'unused',
        error: { code: 'STORE_INVALID', message: 'why' },
      });
      assert.deepEqual(
        status.images.map(({ usable, code, reason }) => [usable, code, reason]),
        [[false, 'STORE_INVALID', 'why']],
      );
    }
  });
});

describe('an image in the status', () => {
  it("whose name is the user's is not usable, and the conflict is told", (t) => {
    const status = documentOf(t, {}, { user: [rival] });
    assert.partialDeepStrictEqual(image(status, app), { usable: false, code: 'TAG_CONFLICT', references: ['app:1'] });
    assert.match(image(status, app)?.reason ?? '', /claimed by the user and by disk dpl-a; the user keeps it/);
    assert.partialDeepStrictEqual(status.conflicts, [
      { reference: 'app:1', disks: ['dpl-a'], user: true, winner: null },
    ]);
  });

  it('whose name another disk has is not usable, and the conflict is told', (t) => {
    const status = documentOf(t, {}, { disks: { 'dpl-a': [app], 'dpl-b': [rival] } });
    assert.deepEqual([image(status, app)?.usable, image(status, rival)?.usable], [false, true]);
    assert.partialDeepStrictEqual(status.conflicts, [
      { reference: 'app:1', disks: ['dpl-a', 'dpl-b'], user: false, winner: 'dpl-b' },
    ]);
  });

  it('that is not valid is there with its reason', (t) => {
    const status = documentOf(t, {
      findings: [finding('IMAGE_INVALID', 'why', { label: 'dpl-a', image: 'sha256:aa' })],
    });
    assert.partialDeepStrictEqual(status.images[1], {
      id: 'sha256:aa',
      disk: 'dpl-a',
      usable: false,
      code: 'IMAGE_INVALID',
      reason: 'why',
    });
  });
});

describe('the status', () => {
  it('tells of disks, images and what was changed', (t) => {
    const run = aRun(t);
    const status = statusDocument(run, later(run, 42));
    assert.equal(status.summary, `ok: 1 disk, 1 image, 2 layers, ${run.plan?.steps.length ?? 0} changes, 42 ms`);
    assert.deepEqual(status.disks, [
      {
        label: 'dpl-a',
        device: '/dev/vdb',
        filesystem: 'erofs',
        sizeBytes: 8192,
        mountPoint: run.disks[0]?.mounted.path,
        images: 1,
        layers: 2,
        layerBytes: 'baseapp'.length,
        manifestDigest: null,
        signedBy: null,
        state: 'in-use',
        adopted: false,
        sharedLayers: 0,
        error: null,
      },
    ]);
    assert.deepEqual(status.images, [
      {
        id: factsOf(app).id,
        references: ['app:1'],
        disk: 'dpl-a',
        usable: true,
        code: null,
        reason: null,
        dockerReferences: ['app:1'],
      },
    ]);
    assert.deepEqual(
      [status.state, status.applied, status.pending, status.changes],
      ['ok', true, [], run.plan?.steps.length],
    );
  });

  it('lists as pending what was not done', (t) => {
    const run = aRun(t, { applied: false, isDockerRunning: true, findings: [finding('DOCKER_RUNNING')] });
    const status = statusDocument(run, later(run, 1));
    assert.equal(status.pending.length, run.plan?.steps.length);
    assert.equal(status.changes, 0);
    assert.match(
      status.pending.join('\n'),
      /^note in the ledger what will be there\nmake the empty layer.*\nlink layer sha256:[0-9a-f]{12} to .*\nrecord layer/,
    );
    assert.match(status.summary, /changes pending: run systemctl restart docker/);
  });

  it('names the worst in its summary, in one line', (t) => {
    const run = aRun(t, {
      findings: [finding('TAG_CONFLICT'), finding('IMAGE_INCOMPLETE', 'this is worse'), finding('DISK_DIRTY')],
    });
    assert.match(statusDocument(run, later(run, 1)).summary, /^degraded: this is worse \(and 2 more\); 1 disk/);
    const empty = aRun(t, { disks: [], plan: undefined, applied: false, dataRoot: undefined });
    assert.match(
      statusDocument(empty, later(empty, 1)).summary,
      /^empty: 0 disks, 0 images, 0 layers, nothing changed/,
    );
  });

  it('lists nothing as pending, and advises no restart of Docker, where that would not help', (t) => {
    for (const [code, message] of [
      ['STORE_WRITE', '/var/lib/docker: ENOSPC'],
      ['STORE_UNSUPPORTED', 'overlay2 cannot be used there'],
    ] as const) {
      const run = aRun(t, { applied: false, findings: [finding(code, message)] });
      const status = statusDocument(run, later(run, 1));
      assert.deepEqual([status.pending, status.applied, status.changes], [[], false, 0]);
      assert.match(
        status.summary,
        new RegExp(
          `^\\w+: ${message}; 1 disk, 1 image, 2 layers, ${run.plan?.steps.length ?? 0} changes not made, 1 ms$`,
        ),
      );
      assert.deepEqual(
        eventsOf(status)
          .map(({ name }) => name)
          .filter((name) => name === 'PENDING'),
        [],
      );
      assert.deepEqual(
        status.images.map((image) => image.code),
        [code],
      );
      assert.doesNotMatch(JSON.stringify(status), /restart docker/);
    }
  });

  it('has each step with its duration, and no gap between them', (t) => {
    const run = aRun(t);
    run.timings.begin('discover');
    run.timings.begin('ready');
    const end = later(run, 100);
    const { timings } = statusDocument(run, end);
    assert.deepEqual(
      timings.map(({ phase }) => phase),
      ['config', 'discover', 'ready'],
    );
    assert.equal(
      timings.reduce((sum, { durationUsec }) => sum + durationUsec, 0),
      100_000,
    );
  });
});
