import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { FILLER } from '../../agent/containerd/filler-unit.ts';
import {
  AGENT,
  BEFORE_CONTAINERD,
  type BootDocument,
  CONTAINERD,
  DOCKER,
  KUBELET,
} from '../../agent/boot-order/boot-document.ts';
import { findFaults } from '../../agent/boot-order/faults.ts';
import { describeFault } from '../../agent/boot-order/text.ts';
import { aContainerdDocument, aDocument, unit, withUnit } from './a-document.ts';

/** Without one of its units, which then nothing has loaded. */
const without = (document: BootDocument, ...ids: readonly string[]): BootDocument => ({
  ...document,
  units: document.units.filter(({ id }) => !ids.includes(id)),
});
const containerd = (id: string, change: Parameters<typeof withUnit>[1]): BootDocument =>
  withUnit(id, change, aContainerdDocument());
/** Nothing of containerd's is enabled. */
const notEnabled = (stores: NonNullable<BootDocument['filled']>['stores']): BootDocument =>
  without(
    withUnit(
      CONTAINERD,
      { after: ['sysinit.target'], wants: [] },
      aContainerdDocument({ filled: { dataRoot: '/var/lib/docker', applied: true, stores } }),
    ),
    FILLER,
    BEFORE_CONTAINERD,
  );
/** Nothing else is started there. */
const withK3s: BootDocument = {
  ...aContainerdDocument({
    dockerInfo: null,
    dockerds: [],
    filled: { dataRoot: '/var/lib/docker', applied: true, stores: [{ store: 'containerd', namespace: 'k8s.io' }] },
  }),
  units: [
    ...without(aContainerdDocument(), CONTAINERD, DOCKER, KUBELET, BEFORE_CONTAINERD).units,
    unit(CONTAINERD, 0, 0, { activeState: 'inactive', unitFileState: 'disabled' }),
    unit(DOCKER, 0, 0, { activeState: 'inactive', after: [AGENT, FILLER] }),
    unit('k3s.service', 3190, 3500, { after: [FILLER], wants: [FILLER] }),
  ],
};
const moby = { store: 'containerd', namespace: 'moby' } as const;

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
  ['containerd filled for Docker and Kubernetes', aContainerdDocument(), []],
  ["containerd filled for Docker alone, by docker.service's drop-in", notEnabled([moby]), []],
  [
    "a namespace of containerd that is not Docker's, which nothing waits for",
    notEnabled([moby, { store: 'containerd', namespace: 'k8s.io' }]),
    [
      /^NOT_WANTED: docker-preloader-containerd\.service is wanted by nothing: .*namespace k8s\.io of containerd is filled.*; systemctl enable docker-preloader-containerd$/,
    ],
  ],
  [
    'Kubernetes without Docker',
    without(
      aContainerdDocument({
        dockerInfo: null,
        dockerds: [],
        filled: { dataRoot: null, applied: true, stores: [{ store: 'containerd', namespace: 'k8s.io' }] },
      }),
      DOCKER,
    ),
    [],
  ],
  [
    'K3s, with a Docker and a containerd that nobody starts',
    withUnit(FILLER, { wantedBy: ['k3s.service'] }, withUnit(DOCKER, { after: [AGENT, FILLER], wants: [] }, withK3s)),
    [],
  ],
  [
    'K3s that does not want it',
    without(withK3s, FILLER),
    [
      /^NOT_WANTED: docker-preloader-containerd\.service .*; systemctl add-wants k3s\.service docker-preloader-containerd\.service$/,
    ],
  ],
  [
    'K3s that started before its store was filled',
    withUnit('k3s.service', { inactiveExitUsec: 1_000_000 }, withK3s),
    [/^STARTED_EARLY: k3s\.service started 2\.180 s before docker-preloader-containerd\.service had ended; .*/],
  ],
  [
    'what fills containerd, masked',
    containerd(FILLER, { loadState: 'masked', unitFileState: 'masked', after: [] }),
    [/^MASKED: docker-preloader-containerd\.service .*; systemctl unmask docker-preloader-containerd$/],
  ],
  [
    'users of containerd that do not wait for what fills it',
    withUnit(DOCKER, { after: [AGENT, CONTAINERD] }, containerd(KUBELET, { after: [] })),
    [
      /^NOT_ORDERED: docker-preloader-containerd\.service \(\S+\) is not ordered before docker\.service; mkdir -p \S+containerd\.service\.d && .*Before=docker\.service/,
      /^NOT_ORDERED: .* is not ordered before kubelet\.service; .*Before=kubelet\.service/,
    ],
  ],
  [
    'another unit file, that is not ordered after containerd',
    containerd(FILLER, { after: [AGENT], fragmentPath: `/etc/systemd/system/${FILLER}` }),
    [/^NOT_ORDERED: .* is not ordered after containerd\.service, .*; rm \/etc\/\S+ && systemctl daemon-reload$/],
  ],
  [
    'containerd that does not wait for the disks: the target is disabled',
    without(containerd(CONTAINERD, { after: [], wants: [FILLER] }), BEFORE_CONTAINERD),
    [
      /^NOT_ORDERED: docker-preloader\.service is not ordered before containerd\.service.*; systemctl reenable docker-preloader-before-containerd\.target$/,
    ],
  ],
  [
    'the same, though somebody has looked at the target, which has loaded it',
    containerd(BEFORE_CONTAINERD, { wantedBy: [] }),
    [/^NOT_ORDERED: .*; systemctl reenable docker-preloader-before-containerd\.target$/],
  ],
  [
    'the same: it is masked',
    withUnit(
      BEFORE_CONTAINERD,
      { loadState: 'masked', unitFileState: 'masked', after: [] },
      containerd(CONTAINERD, { after: [] }),
    ),
    [/^NOT_ORDERED: .*; systemctl unmask docker-preloader-before-containerd\.target$/],
  ],
  ['containerd that waits by a drop-in', without(containerd(CONTAINERD, { after: [AGENT] }), BEFORE_CONTAINERD), []],
  [
    'a boot that had another order',
    withUnit(KUBELET, { inactiveExitUsec: 3_000_000 }, containerd(CONTAINERD, { inactiveExitUsec: 2_000_000 })),
    [
      /^STARTED_EARLY: containerd\.service started 900 ms before docker-preloader was READY; the next boot .*; systemctl reboot$/,
      /^STARTED_EARLY: kubelet\.service started 180 ms before docker-preloader-containerd\.service had ended; .*; systemctl reboot$/,
    ],
  ],
  [
    'a boot in which all of it was enabled only later',
    { ...containerd(CONTAINERD, { inactiveExitUsec: 2_000_000 }), fillerEnabledUsec: 50_000_000 },
    [],
  ],
  [
    'a cycle through what fills containerd',
    containerd(CONTAINERD, { after: ['sysinit.target', BEFORE_CONTAINERD, KUBELET] }),
    [
      /^ORDERING_CYCLE: .*docker-preloader-containerd\.service → containerd\.service → kubelet\.service → .*; systemctl disable kubelet\.service && systemctl revert docker-preloader-containerd\.service$/,
    ],
  ],
  [
    'dockerd with its images in containerd, where its own store was filled',
    aDocument({ dockerInfo: { dataRoot: '/var/lib/docker', storageDriver: 'overlayfs', version: '29.0.0' } }),
    [
      /^OTHER_STORE: docker info: expected storage driver overlay2, .* found overlayfs; .*'\{"store":"containerd"\}' > \/etc\/docker-preloader\/config\.json && systemctl restart docker$/,
    ],
  ],
  [
    'dockerd with its own store, where containerd was filled',
    aContainerdDocument({
      dockerInfo: { dataRoot: '/var/lib/docker', storageDriver: 'overlay2', version: '28.5.2' },
    }),
    [/^OTHER_STORE: docker info: expected storage driver overlayfs, .* found overlay2; .*'\{"store":"overlay2"\}'/],
  ],
  [
    'dockerd with its own store, where both were filled',
    aContainerdDocument({
      filled: { dataRoot: '/var/lib/docker', applied: true, stores: [moby, { store: 'overlay2', namespace: null }] },
      dockerInfo: { dataRoot: '/var/lib/docker', storageDriver: 'overlay2', version: '28.5.2' },
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
