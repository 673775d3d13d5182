import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { AGENT, type BootDocument, DOCKER } from '../../agent/boot-order/boot-document.ts';
import { findFaults } from '../../agent/boot-order/faults.ts';
import { describeFault } from '../../agent/boot-order/text.ts';
import { aDocument, unit, withUnit } from './a-document.ts';

// Those that a booted systemd can have are in test/guest; here is what it takes luck, or another machine, to see there.
const cases: readonly (readonly [about: string, document: BootDocument, faults: readonly RegExp[]])[] = [
  ['nothing wrong', aDocument(), []],
  [
    'a system that has neither unit',
    aDocument({ units: [], boot: null, dockerds: [], dockerInfo: null, mounts: [] }),
    [
      /^NOT_INSTALLED: expected docker\.service, found none.*; apt-get/,
      /^NOT_INSTALLED: expected docker-preloader\.service.*; dpkg -i/,
    ],
  ],
  [
    'Docker up, and the agent never READY',
    aDocument({ boot: null }),
    [/^STARTED_EARLY: dockerd started, and docker-preloader has not been READY in this boot; systemctl start/],
  ],
  [
    'a cycle that systemd broke, although it is mended',
    aDocument({
      cycleMessages: [
        'x.service: Found ordering cycle on y.service/start',
        'docker.service: Job docker-preloader.service/start deleted to break ordering cycle',
      ],
    }),
    [
      /^ORDERING_CYCLE: systemd found an ordering cycle in this boot: docker\.service: Job docker-preloader\.service\/start deleted/,
    ],
  ],
  [
    "others' cycles are theirs",
    aDocument({ cycleMessages: ['x.service: Found ordering cycle on y.service/start'] }),
    [],
  ],
  [
    'a mount that local-fs.target waits for',
    withUnit(
      AGENT,
      { after: ['sysinit.target'] },
      aDocument({
        others: [
          unit('sysinit.target', 1, 2, { after: ['local-fs.target'] }),
          unit('local-fs.target', 1, 2, { after: ['var-lib-docker.mount'] }),
        ],
      }),
    ),
    [],
  ],
  [
    'a mount with a space in its path, after the agent',
    withUnit(
      AGENT,
      { after: ['sysinit.target'] },
      aDocument({
        config: { ...aDocument().config, dataRoot: '/srv/my 100%' },
        filled: null,
        dockerInfo: null,
        mounts: [
          {
            path: '/srv/my 100%',
            deviceNumber: '1:1',
            unit: 'srv.mount',
            kind: 'data-root',
            activeEnterUsec: 4_600_000,
            fragmentPath: '',
          },
        ],
      }),
    ),
    [/^MOUNT_ORDER: .*mounted 2\.000 s after its start; .*'RequiresMountsFor=\/srv\/my\\x20100%%'/],
  ],
  [
    'directives of an agent that does not run',
    withUnit(
      AGENT,
      { namespaceDirectives: ['ProtectProc=invisible', 'ReadOnlyPaths=/a'] },
      aDocument({ ownNamespace: null }),
    ),
    [/^OWN_NAMESPACE: .* by ProtectProc=invisible, ReadOnlyPaths=\/a: .* ProtectProc=default ReadOnlyPaths= >/],
  ],
  [
    'a required label with the strict drop-in',
    withUnit(
      DOCKER,
      { execStartPre: [{ argv: '/usr/bin/docker-preloader apply --degraded-ok', ignoreErrors: false }] },
      aDocument({ config: { ...aDocument().config, required: ['dpl-a'] } }),
    ),
    [],
  ],
  [
    'a required label without a drop-in',
    withUnit(DOCKER, { execStartPre: [] }, aDocument({ config: { ...aDocument().config, required: ['dpl-a'] } })),
    [/^NOT_STRICT: .*found no drop-in at all/],
  ],
  [
    'masked until the next boot',
    withUnit(AGENT, { loadState: 'masked', unitFileState: 'masked-runtime' }),
    [/^MASKED: .*; systemctl unmask --runtime docker-preloader$/],
  ],
  [
    'a disk of /etc/fstab below the data root',
    aDocument({
      mounts: [
        {
          path: '/var/lib/docker/x',
          deviceNumber: '254:16',
          unit: 'var-lib-docker-x.mount',
          kind: 'below-data-root',
          activeEnterUsec: 1,
          fragmentPath: '/run/systemd/generator/var-lib-docker-x.mount',
        },
      ],
    }),
    [/^BELOW_DATA_ROOT: disk dpl-a .*; systemctl mask --now var-lib-docker-x\.mount$/],
  ],
  [
    'dockerd by hand',
    aDocument({ dockerds: [{ pid: 9, unit: '', startUsec: 1 }] }),
    [/^STARTED_ELSEWHERE: dockerd \(PID 9\) was started by no unit.*; kill 9;/],
  ],
  [
    'dockerd in a unit that waits',
    aDocument({
      dockerds: [{ pid: 9, unit: 'own.service', startUsec: 1 }],
      others: [unit('own.service', 1, 2, { after: [AGENT], wants: [AGENT] })],
    }),
    [],
  ],
];

describe('the checks', () => {
  for (const [about, document, expected] of cases) {
    it(`find ${expected.length === 0 ? 'nothing' : 'it'}: ${about}`, () => {
      const found = findFaults(document).map(({ code, message, mend }) => `${code}: ${message}; ${mend}`);
      assert.equal(found.length, expected.length, found.join('\n'));
      for (const [index, pattern] of expected.entries()) assert.match(found[index] ?? '', pattern);
    });
  }

  it('print what their document shows', () => {
    const document = withUnit(
      AGENT,
      { namespaceDirectives: ['PrivateTmp=yes'] },
      aDocument({ ownNamespace: true, config: { ...aDocument().config, required: ['dpl-a'] } }),
    );
    const text = readFileSync(path.resolve(import.meta.dirname, '../../agent/boot-order/README.md'), 'utf8');
    const [, sample = ''] = /^# docker-preloader boot-order --check\n([^`]+)```/m.exec(text) ?? [];
    assert.equal(
      findFaults(document)
        .map((fault) => `${describeFault(fault)}\n`)
        .join(''),
      sample,
    );
  });
});
