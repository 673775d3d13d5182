import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { criticalPath } from '../../agent/boot-order/critical-path.ts';
import { AGENT, type BootDocument, DOCKER } from '../../agent/boot-order/boot-document.ts';
import { findFaults } from '../../agent/boot-order/faults.ts';
import { timeline, type TimelineEntry } from '../../agent/boot-order/timeline.ts';
import { aContainerdDocument, aDocument, unit, withUnit } from './a-document.ts';

const entry = (document: BootDocument, name: string): TimelineEntry =>
  timeline(document).entries.find((one) => one.name === name) ?? assert.fail(name);

describe('the timeline', () => {
  it('goes from the firmware to the first container, each in its place', () => {
    const names = timeline(aDocument()).entries.map(({ name, of }) => (of === undefined ? name : `  ${name}`));
    assert.deepEqual(names, [
      'firmware',
      'boot loader',
      'kernel',
      'initrd',
      'userspace',
      'systemd-udev-trigger.service',
      'var-lib-docker.mount',
      'docker.socket',
      'docker-preloader.service',
      '  process',
      '  config',
      '  discover',
      '  mount',
      '  mounted: dpl-a (/dev/vdb)',
      '  read',
      '  READY (ok)',
      'containerd.service',
      'udev: /dev/vdb (dpl-a)',
      'docker.service',
      '  ExecStartPre',
      '  dockerd',
      'container web (web:1)',
    ]);
    assert.deepEqual(
      [entry(aDocument(), 'firmware').startUsec, entry(aDocument(), 'firmware').endUsec],
      [-900_000, -300_000],
    );
    assert.deepEqual(
      [entry(aDocument(), 'discover').startUsec, entry(aDocument(), 'discover').endUsec],
      [2_660_000, 2_800_000],
    );
  });

  it('has what fills containerd between that and its users, and on the critical path', () => {
    const units = timeline(aContainerdDocument()).entries.filter(({ kind }) => kind === 'unit');
    assert.deepEqual(
      units.slice(-5).map(({ name, critical, waitedFor }) => [name, critical, waitedFor]),
      [
        ['docker-preloader.service', true, 'sysinit.target, then 100 ms for its turn with systemd'],
        [
          'containerd.service',
          true,
          'docker-preloader-before-containerd.target, then 5.0 ms for its turn with systemd',
        ],
        ['docker-preloader-containerd.service', true, 'containerd.service, then 5.0 ms for its turn with systemd'],
        ['kubelet.service', false, 'docker-preloader-containerd.service, then 10 ms for its turn with systemd'],
        ['docker.service', true, 'docker-preloader-containerd.service, then 10 ms for its turn with systemd'],
      ],
    );
  });

  it('says for each gap what it waited for', () => {
    assert.equal(entry(aDocument(), AGENT).waitedFor, 'sysinit.target, then 100 ms for its turn with systemd');
    assert.equal(entry(aDocument(), 'discover').waitedFor, 'udev to handle all devices');
    assert.equal(
      entry(aDocument(), 'udev: /dev/vdb (dpl-a)').waitedFor,
      "systemd-udev-trigger.service, then the kernel and udev's rules for 600 ms",
    );
    assert.equal(entry(aDocument(), 'var-lib-docker.mount').waitedFor, 'systemd to load its units, 300 ms');
    assert.equal(
      entry(withUnit(DOCKER, { inactiveExitUsec: 9_000_000, activeEnterUsec: 9_500_000 }), DOCKER).waitedFor,
      `${AGENT}, then 6.100 s until somebody asked for it, after the boot`,
    );
  });

  it('counts from the manager in a container, whose clock is its machine’s', () => {
    const document = aDocument({ system: { ...aDocument().system, virtualization: 'systemd-nspawn' } });
    assert.equal(timeline(document).originUsec, 2_000_000);
    assert.ok(!timeline(document).entries.some(({ name }) => name === 'kernel'));
  });

  it('has the first starts of units that were started again, by the journal and by what the agent wrote down', () => {
    const again = withUnit(
      AGENT,
      { inactiveExitUsec: 50_000_000, activeEnterUsec: 50_100_000 },
      withUnit(
        DOCKER,
        { inactiveExitUsec: 52_000_000, activeEnterUsec: 52_900_000 },
        aDocument({
          firstStarts: [
            { unit: AGENT, startingUsec: 2_601_000, startedUsec: 2_901_000 },
            { unit: DOCKER, startingUsec: 2_906_000, startedUsec: 4_001_000 },
          ],
        }),
      ),
    );
    assert.deepEqual([entry(again, AGENT).startUsec, entry(again, AGENT).endUsec], [2_601_000, 2_900_000]);
    assert.deepEqual([entry(again, DOCKER).startUsec, entry(again, DOCKER).endUsec], [2_906_000, 4_001_000]);
    assert.deepEqual(findFaults(again), []);
  });

  it('names what filled the store where the unit did not', () => {
    assert.equal(
      entry(withUnit(AGENT, { inactiveExitUsec: 0, activeEnterUsec: 0 }), 'docker-preloader apply').endUsec,
      2_900_000,
    );
  });

  it('finds the critical path, without slices and what was up too late, and ends in a circle of dependencies', () => {
    assert.deepEqual(
      criticalPath(aDocument()).map((one) => one.unit),
      ['local-fs.target', 'sysinit.target', AGENT, DOCKER],
    );
    const circle = aDocument({
      others: [
        unit('sysinit.target', 2500, 2500, { after: [AGENT, 'sysinit.target', 'local-fs.target'] }),
        unit('local-fs.target', 2400, 2450, { after: ['sysinit.target', 'local-fs.target'] }),
      ],
    });
    assert.equal(criticalPath(circle).at(-1)?.unit, DOCKER);
  });
});
