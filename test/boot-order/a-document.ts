import { FILLER } from '../../agent/containerd/filler-unit.ts';
import {
  AGENT,
  BEFORE_CONTAINERD,
  type BootDocument,
  CONTAINERD,
  DOCKER,
  DOCKER_SOCKET,
  KUBELET,
  UDEV_TRIGGER,
  unitFacts,
  type UnitFacts,
} from '../../agent/boot-order/boot-document.ts';

const ms = (milliseconds: number): number => milliseconds * 1000;

/** A unit that began and was up at these milliseconds after the kernel's start. */
export function unit(id: string, start: number, end: number, more: Partial<UnitFacts> = {}): UnitFacts {
  return {
    ...unitFacts({
      id,
      loadState: 'loaded',
      activeState: 'active',
      fragmentPath: `/usr/lib/systemd/system/${id}`,
      inactiveExitUsec: ms(start),
      activeEnterUsec: ms(end),
    }),
    ...more,
  };
}

/** The boot of a virtual machine with one disk, as it should be: nothing is wrong with it. */
export function aDocument(change: Partial<BootDocument> = {}): BootDocument {
  return {
    documentVersion: '1.1',
    version: '0.1.0',
    capturedUsec: ms(60_000),
    system: { systemd: '257', kernel: '6.12.0', virtualization: 'kvm' },
    manager: {
      firmwareUsec: ms(900),
      loaderUsec: ms(300),
      initrdUsec: ms(1000),
      userspaceUsec: ms(2000),
      finishUsec: ms(5000),
    },
    config: {
      path: '/etc/docker-preloader/config.json',
      problem: null,
      content: null,
      required: [],
      dataRoot: '/var/lib/docker',
      dockerConfig: '/etc/docker/daemon.json',
      storageDriver: null,
    },
    units: [
      unit(AGENT, 2600, 2900, { after: [UDEV_TRIGGER, 'sysinit.target', 'system.slice', 'var-lib-docker.mount'] }),
      unit(DOCKER_SOCKET, 2550, 2560, { triggers: [DOCKER] }),
      unit(CONTAINERD, 2600, 2800, { after: ['sysinit.target'] }),
      unit(DOCKER, 2905, 4000, {
        execMainStartUsec: ms(3000),
        after: [AGENT, DOCKER_SOCKET, CONTAINERD, 'circle.service'],
        wants: [AGENT, CONTAINERD],
        execStartPre: [{ argv: '/usr/bin/docker-preloader apply --degraded-ok', ignoreErrors: true }],
      }),
      unit(UDEV_TRIGGER, 2100, 2200),
      unit('var-lib-docker.mount', 2300, 2400),
    ],
    others: [
      unit('sysinit.target', 2500, 2500, { after: ['local-fs.target'] }),
      unit('local-fs.target', 2450, 2450),
      unit('system.slice', 2010, 2590),
    ],
    firstStarts: [],
    cycleMessages: [],
    mounts: [
      {
        path: '/var/lib/docker',
        deviceNumber: '254:1',
        unit: 'var-lib-docker.mount',
        kind: 'data-root',
        activeEnterUsec: ms(2400),
        fragmentPath: '/run/systemd/generator/var-lib-docker.mount',
      },
      {
        path: '/run/docker-preloader/disks/dpl-a',
        deviceNumber: '254:16',
        unit: 'x.mount',
        kind: 'disk',
        activeEnterUsec: ms(2850),
        fragmentPath: '',
      },
    ],
    disks: [{ label: 'dpl-a', device: '/dev/vdb', deviceNumber: '254:16', udevUsec: ms(2700) }],
    boot: {
      readyUsec: ms(2900),
      state: 'ok',
      timings: [
        { phase: 'config', startUsec: ms(2650), mounted: [] },
        { phase: 'discover', startUsec: ms(2660), waitedFor: 'udev to handle all devices', mounted: [] },
        { phase: 'mount', startUsec: ms(2800), mounted: [{ label: 'dpl-a', device: '/dev/vdb', atUsec: ms(2810) }] },
        { phase: 'read', startUsec: ms(2820), mounted: [] },
        { phase: 'ready', startUsec: ms(2900), mounted: [] },
      ],
    },
    ownNamespace: false,
    enabledUsec: 0,
    fillerEnabledUsec: 0,
    filled: { dataRoot: '/var/lib/docker', applied: true, stores: [{ store: 'overlay2', namespace: null }] },
    dockerInfo: { dataRoot: '/var/lib/docker', storageDriver: 'overlay2', version: '28.5.2' },
    dockerds: [{ pid: 700, unit: DOCKER, startUsec: ms(3000) }],
    firstContainer: { id: 'a'.repeat(64), name: 'web', image: 'web:1', startUsec: ms(4500) },
    notes: [],
    unchecked: [],
    ...change,
  };
}

/** The same with one of its units changed. */
export function withUnit(id: string, change: Partial<UnitFacts>, document: BootDocument = aDocument()): BootDocument {
  return { ...document, units: document.units.map((one) => (one.id === id ? { ...one, ...change } : one)) };
}

/** The same machine with the images in containerd, for Docker and Kubernetes, as it should be. */
export function aContainerdDocument(change: Partial<BootDocument> = {}): BootDocument {
  const document = aDocument();
  const of = (id: string): UnitFacts => document.units.find((one) => one.id === id) ?? unit(id, 0, 0);
  return {
    ...document,
    units: [
      ...document.units.filter(({ id }) => id !== CONTAINERD && id !== DOCKER),
      unit(BEFORE_CONTAINERD, 2905, 2905, { after: [AGENT], wants: [AGENT], wantedBy: [CONTAINERD] }),
      unit(CONTAINERD, 2910, 3100, {
        after: ['sysinit.target', BEFORE_CONTAINERD],
        wants: [BEFORE_CONTAINERD, FILLER],
      }),
      unit(FILLER, 3105, 3180, { after: [CONTAINERD, AGENT], wants: [AGENT], wantedBy: [CONTAINERD, DOCKER] }),
      unit(KUBELET, 3190, 3200, { after: [FILLER] }),
      {
        ...of(DOCKER),
        after: [...of(DOCKER).after, FILLER],
        wants: [...of(DOCKER).wants, FILLER],
        inactiveExitUsec: ms(3190),
        execMainStartUsec: ms(3260),
      },
    ],
    filled: {
      dataRoot: '/var/lib/docker',
      applied: true,
      stores: [
        { store: 'containerd', namespace: 'moby' },
        { store: 'containerd', namespace: 'k8s.io' },
      ],
    },
    dockerInfo: { dataRoot: '/var/lib/docker', storageDriver: 'overlayfs', version: '28.5.2' },
    ...change,
  };
}
