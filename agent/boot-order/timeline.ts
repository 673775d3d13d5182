import { criticalPath, waitedFor } from './critical-path.ts';
import { FILLER, WITH_OWN_CONTAINERD } from '../containerd/filler-unit.ts';
import { AGENT, CONTAINERD, DOCKER, DOCKER_SOCKET, KUBELET, UDEV_TRIGGER, type BootDocument } from './boot-document.ts';
import { firstStart, type FirstStart } from './first-start.ts';
import { duration } from './format.ts';

/** One line of the timeline. */
export interface TimelineEntry {
  readonly kind: 'stage' | 'device' | 'unit' | 'step' | 'mount' | 'container';
  readonly name: string;
  /** The unit that a step belongs to. */
  readonly of?: string;
  /** Microseconds of CLOCK_MONOTONIC; negative for anything before the kernel. */
  readonly startUsec: number;
  /** The same as the start for a single moment. */
  readonly endUsec: number;
  /** Whether Docker would have been up earlier if this had been shorter. */
  readonly critical: boolean;
  /** What it waited for before it began, or while it ran, and for how long. */
  readonly waitedFor?: string;
}

export interface Timeline {
  /**
   * Where offsets begin: at the start of the kernel, or in a container, which shares its machine's clock, at the start
   * of the manager.
   */
  readonly originUsec: number;
  readonly entries: readonly TimelineEntry[];
  /** In order of time, up to docker.service. */
  readonly criticalPath: readonly TimelineEntry[];
}

/** The name that is shown instead of the unit if that did not run. */
const APPLY = 'docker-preloader apply';
/** Gaps shorter than this are the time that the service manager needs from one unit to the next. */
const SHORT_USEC = 1000;
/**
 * The virtualization types that are containers (systemd-detect-virt --container), which share their machine's clock.
 */
const CONTAINERS = new Set([
  'systemd-nspawn',
  'lxc',
  'lxc-libvirt',
  'openvz',
  'docker',
  'podman',
  'rkt',
  'wsl',
  'proot',
  'pouch',
  'container-other',
]);

/**
 * When each stage, device, unit and step began and ended, what it waited for, and which of them determined when Docker
 * was up.
 */
export function timeline(document: BootDocument): Timeline {
  const { manager, system } = document;
  const originUsec = CONTAINERS.has(system.virtualization) ? manager.userspaceUsec : 0;
  const path = criticalPath(document);
  const isCritical = new Set(path.map(({ unit }) => unit));
  const entries = [
    ...stages(document, originUsec),
    ...document.disks.flatMap(({ label, device, udevUsec }) =>
      udevUsec === null ? [] : [deviceEntry(document, `udev: ${device} (${label})`, udevUsec)],
    ),
    ...[
      UDEV_TRIGGER,
      ...dataRootUnits(document),
      AGENT,
      DOCKER_SOCKET,
      CONTAINERD,
      FILLER,
      KUBELET,
      ...WITH_OWN_CONTAINERD,
      DOCKER,
    ].flatMap((id) => unitEntries(document, id, isCritical.has(id))),
    ...containerEntry(document),
  ];
  return { originUsec, entries: inOrder(entries), criticalPath: pathEntries(document, path) };
}

function stages({ manager, capturedUsec }: BootDocument, originUsec: number): TimelineEntry[] {
  const { firmwareUsec, loaderUsec, initrdUsec, userspaceUsec, finishUsec } = manager;
  const stage = (name: string, startUsec: number, endUsec: number): TimelineEntry => ({
    kind: 'stage',
    name,
    startUsec,
    endUsec,
    critical: startUsec < userspaceUsec,
  });
  const entries: TimelineEntry[] = [];
  if (originUsec === 0) {
    if (firmwareUsec > 0) entries.push(stage('firmware', -firmwareUsec, -loaderUsec));
    if (loaderUsec > 0) entries.push(stage('boot loader', -loaderUsec, 0));
    entries.push(stage('kernel', 0, initrdUsec > 0 ? initrdUsec : userspaceUsec));
    if (initrdUsec > 0) entries.push(stage('initrd', initrdUsec, userspaceUsec));
  }
  entries.push({
    ...stage('userspace', userspaceUsec, Math.max(userspaceUsec, finishUsec > 0 ? finishUsec : capturedUsec)),
    ...(finishUsec > 0 ? {} : { waitedFor: 'the boot has not finished yet' }),
  });
  return entries;
}

function dataRootUnits(document: BootDocument): string[] {
  return document.mounts.filter(({ kind, unit }) => kind === 'data-root' && unit !== '-.mount').map(({ unit }) => unit);
}

/** The kernel announces a device again when udev asks for it. */
function deviceEntry(document: BootDocument, name: string, atUsec: number): TimelineEntry {
  const trigger = firstStart(document, UDEV_TRIGGER);
  const after =
    trigger !== undefined && trigger.startUsec <= atUsec
      ? { waitedFor: `${UDEV_TRIGGER}, then the kernel and udev's rules for ${duration(atUsec - trigger.startUsec)}` }
      : {};
  return { kind: 'device', name, startUsec: atUsec, endUsec: atUsec, critical: false, ...after };
}

function unitEntries(document: BootDocument, id: string, critical: boolean): TimelineEntry[] {
  const start = firstStart(document, id);
  if (start === undefined) return [];
  const endUsec = start.endUsec === 0 ? start.startUsec : start.endUsec;
  const span = { startUsec: start.startUsec, endUsec, critical };
  const entry: TimelineEntry = start.byApply
    ? { kind: 'unit', name: APPLY, ...span, waitedFor: `${DOCKER}: its drop-in, not ${AGENT}, filled the store` }
    : { kind: 'unit', name: id, ...span, ...reason(document, id, start.startUsec) };
  return [
    entry,
    ...(id === AGENT
      ? agentSteps(document, start, critical)
      : id === DOCKER
        ? dockerSteps(document, start, critical)
        : []),
  ];
}

/**
 * What the start of a unit waited for: of the units that it is ordered after, the one that was up last, and then its
 * turn.
 */
function reason(document: BootDocument, id: string, startUsec: number): { readonly waitedFor?: string } {
  const before = waitedFor(document, id);
  const { finishUsec, userspaceUsec } = document.manager;
  if (before === undefined)
    return startUsec >= userspaceUsec
      ? { waitedFor: `systemd to load its units, ${duration(startUsec - userspaceUsec)}` }
      : {};
  const gapUsec = startUsec - before.endUsec;
  if (gapUsec < SHORT_USEC) return { waitedFor: before.unit };
  const asked = finishUsec > 0 && startUsec > finishUsec && before.endUsec <= finishUsec;
  return {
    waitedFor: `${before.unit}, then ${duration(gapUsec)} ${asked ? 'until somebody asked for it, after the boot' : 'for its turn with systemd'}`,
  };
}

function agentSteps({ boot }: BootDocument, start: FirstStart, critical: boolean): TimelineEntry[] {
  const of = start.byApply ? APPLY : AGENT;
  if (boot === null) return [];
  const started: TimelineEntry[] =
    start.execUsec > start.startUsec
      ? [
          {
            kind: 'step',
            name: 'process',
            of,
            startUsec: start.startUsec,
            endUsec: start.execUsec,
            critical,
            waitedFor: 'systemd and the kernel to start the program',
          },
        ]
      : [];
  const phases = boot.timings.flatMap(({ phase, startUsec, waitedFor: awaited }, index): TimelineEntry[] => {
    if (phase === 'ready') return [];
    const endUsec = boot.timings[index + 1]?.startUsec ?? boot.readyUsec;
    return [
      {
        kind: 'step',
        name: phase,
        of,
        startUsec,
        endUsec,
        critical,
        ...(awaited === undefined ? {} : { waitedFor: awaited }),
      },
    ];
  });
  const mounts = boot.timings
    .flatMap(({ mounted }) => mounted)
    .map(({ label, device, atUsec }): TimelineEntry => ({
      kind: 'mount',
      name: `mounted: ${label} (${device})`,
      of,
      startUsec: atUsec,
      endUsec: atUsec,
      critical: false,
    }));
  return [
    ...started,
    ...phases,
    ...mounts,
    { kind: 'step', name: `READY (${boot.state})`, of, startUsec: boot.readyUsec, endUsec: boot.readyUsec, critical },
  ];
}

function dockerSteps(document: BootDocument, start: FirstStart, critical: boolean): TimelineEntry[] {
  // systemd knows only for the latest start when its main process began.
  if (start.restarted) return [];
  const before =
    document.units
      .find(({ id }) => id === DOCKER)
      ?.execStartPre.map(({ argv }) => argv)
      .join('; ') ?? '';
  const steps: TimelineEntry[] = [];
  if (start.execUsec > start.startUsec) {
    steps.push({
      kind: 'step',
      name: before === '' ? 'process' : 'ExecStartPre',
      of: DOCKER,
      startUsec: start.startUsec,
      endUsec: start.execUsec,
      critical,
      waitedFor: before === '' ? 'systemd and the kernel to start the program' : before,
    });
  }
  if (start.endUsec > start.execUsec)
    steps.push({
      kind: 'step',
      name: 'dockerd',
      of: DOCKER,
      startUsec: start.execUsec,
      endUsec: start.endUsec,
      critical,
    });
  return steps;
}

function containerEntry({ firstContainer }: BootDocument): TimelineEntry[] {
  if (firstContainer === null) return [];
  const { id, name, image, startUsec } = firstContainer;
  return [
    {
      kind: 'container',
      name: `container ${name === '' ? id.slice(0, 12) : name} (${image})`,
      startUsec,
      endUsec: startUsec,
      critical: false,
      waitedFor: DOCKER,
    },
  ];
}

/** Sorts by the beginning, with a unit's steps below it. */
function inOrder(entries: readonly TimelineEntry[]): TimelineEntry[] {
  const byStart = (left: TimelineEntry, right: TimelineEntry): number => left.startUsec - right.startUsec;
  const steps = Map.groupBy(
    entries.filter(({ of }) => of !== undefined),
    ({ of }) => of,
  );
  return entries
    .filter(({ of }) => of === undefined)
    .toSorted(byStart)
    .flatMap((entry) => [entry, ...(steps.get(entry.name) ?? []).toSorted(byStart)]);
}

function pathEntries(document: BootDocument, path: ReturnType<typeof criticalPath>): TimelineEntry[] {
  return path.map(({ unit, startUsec, endUsec }) => ({
    kind: 'unit',
    name: unit,
    startUsec,
    endUsec: endUsec === 0 ? startUsec : endUsec,
    critical: true,
    ...reason(document, unit, startUsec),
  }));
}
