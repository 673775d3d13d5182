import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { criticalPath } from '../../agent/boot-order/critical-path.ts';
import { AGENT, type BootDocument, DOCKER, parseBootDocument } from '../../agent/boot-order/boot-document.ts';
import { findFaults } from '../../agent/boot-order/faults.ts';
import { duration, offset } from '../../agent/boot-order/format.ts';
import { parseJournal } from '../../agent/boot-order/read-journal.ts';
import { mountUnit } from '../../agent/boot-order/mount-unit.ts';
import { bootChart } from '../../agent/boot-order/svg.ts';
import { toUnitFacts, usecOf } from '../../agent/boot-order/systemd.ts';
import { describeTimeline } from '../../agent/boot-order/text.ts';
import { timeline, type TimelineEntry } from '../../agent/boot-order/timeline.ts';
import { parseShow } from '../../agent/system/systemctl.ts';
import { aDocument, unit, withUnit } from './a-document.ts';

const entry = (document: BootDocument, name: string): TimelineEntry =>
  timeline(document).entries.find((one) => one.name === name) ?? assert.fail(name);
const plain = { columns: undefined, color: false };

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

describe('what comes from systemd', () => {
  it('is parsed, whatever is not set', () => {
    const [first, second] = parseShow(`Id=docker.service
InactiveExitTimestampMonotonic=12
ActiveEnterTimestampMonotonic=18446744073709551615
After=a.service b.service
PrivateTmp=no
ProtectSystem=strict
ExecStartPre={ path=/bin/a ; argv[]=/bin/a x ; ignore_errors=yes ; start_time=[n/a] }
ExecStartPre={ path=/bin/b ; argv[]=/bin/b ; ignore_errors=no ; start_time=[n/a] }

Id=other.service
`);
    assert.ok(first !== undefined && second !== undefined);
    const facts = toUnitFacts(first);
    assert.deepEqual(
      [facts.id, facts.inactiveExitUsec, facts.activeEnterUsec, facts.after, facts.namespaceDirectives],
      ['docker.service', 12, 0, ['a.service', 'b.service'], ['ProtectSystem=strict']],
    );
    assert.deepEqual(facts.execStartPre, [
      { argv: '/bin/a x', ignoreErrors: true },
      { argv: '/bin/b', ignoreErrors: false },
    ]);
    assert.equal(usecOf(second, 'InactiveExitTimestampMonotonic'), 0);
  });

  it('and from the journal: first starts and cycles, and no line that is not of its form', () => {
    const line = (fields: Record<string, string>): string => JSON.stringify({ __MONOTONIC_TIMESTAMP: '5', ...fields });
    assert.deepEqual(
      parseJournal(
        [
          'no json',
          '[]',
          line({ MESSAGE_ID: '7d4958e842da4a758f6c1cdc7b36dcc5', UNIT: DOCKER }),
          JSON.stringify({ __MONOTONIC_TIMESTAMP: '9', MESSAGE_ID: '7d4958e842da4a758f6c1cdc7b36dcc5', UNIT: DOCKER }),
          line({
            MESSAGE:
              'docker.service: Job docker-preloader.service/start deleted to break ordering cycle starting with docker.service/start',
          }),
        ].join('\n'),
      ),
      {
        firstStarts: [{ unit: DOCKER, startingUsec: 5, startedUsec: 0 }],
        cycleMessages: [
          'docker.service: Job docker-preloader.service/start deleted to break ordering cycle starting with docker.service/start',
        ],
      },
    );
  });

  for (const [path, name] of [
    ['/', '-.mount'],
    ['/var/lib/docker', 'var-lib-docker.mount'],
    ['/srv/a-b c', String.raw`srv-a\x2db\x20c.mount`],
    ['/.x', String.raw`\x2ex.mount`],
  ] as const) {
    it(`names the mount unit of ${path}`, () => assert.equal(mountUnit(path), name));
  }
});

describe('the document', () => {
  it('is read as it was written, with what a newer minor adds left out', () => {
    const document = aDocument();
    assert.deepEqual(
      parseBootDocument(
        JSON.stringify({ ...document, documentVersion: '1.7', timeline: timeline(document), faults: [], more: 1 }),
      ),
      { ...document, documentVersion: '1.7' },
    );
  });

  for (const [about, json, message] of [
    ['a newer major', { ...aDocument(), documentVersion: '2.0' }, /`documentVersion`: expected 1\.0, found "2\.0"/],
    ['times that are none', { ...aDocument(), capturedUsec: -1 }, /`capturedUsec`: expected at least 0, found -1/],
    [
      'a list that is too long',
      { ...aDocument(), notes: Array.from({ length: 5000 }, () => '') },
      /`notes`: expected at most 4096/,
    ],
  ] as const) {
    it(`is refused with ${about}`, () => assert.throws(() => parseBootDocument(JSON.stringify(json)), message));
  }

  it('can hold anything: every name and time is shown in one line, and in a well-formed chart', () => {
    const name = fc.string({ unit: 'binary', maxLength: 60 });
    const usec = fc.nat({ max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(name, name, name, usec, usec, usec, (label, image, state, one, two, three) => {
        const document = parseBootDocument(
          JSON.stringify(
            withUnit(
              DOCKER,
              {
                inactiveExitUsec: one,
                activeEnterUsec: two,
                after: [label, AGENT],
                execStartPre: [{ argv: image, ignoreErrors: false }],
              },
              aDocument({
                disks: [{ label, device: image, deviceNumber: state, udevUsec: three }],
                firstContainer: { id: label, name: image, image: state, startUsec: two },
                others: [unit(label, 0, 0, { inactiveExitUsec: two, activeEnterUsec: three, after: [DOCKER] })],
                boot: { readyUsec: two, state, timings: [] },
                notes: [label],
                cycleMessages: [`docker ${image}`],
              }),
            ),
          ),
        );
        const times = timeline(document);
        const text = describeTimeline(document, times, findFaults(document), plain);
        // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
        assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
        const svg = bootChart(document, times);
        // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
        assert.doesNotMatch(svg, /[\u0000-\u0009\u000b-\u001f\ufffe\uffff]|NaN|Infinity|&(?!(amp|lt|gt|quot);)/);
        assert.ok(svg.isWellFormed());
      }),
      { numRuns: 100 },
    );
  });
});

describe('the text', () => {
  it('is as wide as the terminal at most, and has colours only there', () => {
    const document = aDocument();
    for (const columns of [40, 80, 120]) {
      const lines = describeTimeline(document, timeline(document), [], { columns, color: false })
        .split('\n')
        .filter((line) => !line.startsWith('Critical'));
      assert.ok(
        lines.every((line) => line.length <= columns),
        lines.filter((line) => line.length > columns).join('\n'),
      );
    }
    assert.ok(!describeTimeline(document, timeline(document), [], plain).includes('\u001B'));
    assert.ok(describeTimeline(document, timeline(document), [], { columns: 200, color: true }).includes('\u001B[33m'));
  });

  for (const [usec, shown] of [
    [0, '0.0 ms'],
    [420, '0.4 ms'],
    [84_000, '84 ms'],
    [999_600, '1.000 s'],
    [1_532_000, '1.532 s'],
    [123_000_000, '2 min 3 s'],
  ] as const) {
    it(`shows ${usec} µs as ${shown}`, () => assert.equal(duration(usec), shown));
  }

  it('shows offsets before the kernel, too', () => assert.equal(offset(-900_000), '-0.900 s'));
});
