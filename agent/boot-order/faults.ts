import { MOBY } from '../docker/daemon-config.ts';
import { FILLER } from '../containerd/filler-unit.ts';
import {
  AGENT,
  AGENT_SOCKET,
  BEFORE_CONTAINERD,
  CONTAINERD,
  DOCKER,
  DOCKER_SOCKET,
  unitOf,
  type BootDocument,
} from './boot-document.ts';
import { containerdOrder, isForOthersAlone } from './containerd-order.ts';
import { findCycle, isLoaded, isOrderedAfter, isWanted } from './ordering.ts';
import type { Fault } from './fault.ts';
import { firstStart } from './first-start.ts';
import { duration } from './format.ts';
import { quoted, writeFile } from './shell.ts';
import { startedElsewhere } from './starters.ts';
import { isForeign, RELOAD, restoreUnit, unmask } from './unit-file.ts';

const AGENT_DROP_INS = `/etc/systemd/system/${AGENT}.d`;
const STRICT_SOURCE = '/usr/share/docker-preloader/docker.service.d-strict.conf';
const STRICT_TARGET = '/etc/systemd/system/docker.service.d/50-docker-preloader.conf';

/** Checks everything that can be wrong. The list is empty if nothing is. */
export function findFaults(document: BootDocument): Fault[] {
  const checks = [
    installation,
    dockerStart,
    wanted,
    ordered,
    containerdOrder,
    startedElsewhere,
    mountOrder,
    namespace,
    orderingCycle,
    strictness,
    belowDataRoot,
    otherStore,
  ];
  return checks.flatMap((check) => check(document));
}

function installation(document: BootDocument): Fault[] {
  const agent = unitOf(document, AGENT);
  const docker = unitOf(document, DOCKER);
  const faults: Fault[] = [];
  // Kubernetes needs no dockerd.
  if (docker.loadState === 'not-found' && !isForOthersAlone(document))
    faults.push({
      code: 'NOT_INSTALLED',
      message: `expected ${DOCKER}, found none: dockerd is not installed, or not as a unit`,
      mend: 'apt-get install docker.io',
    });
  if (agent.loadState === 'not-found')
    faults.push({
      code: 'NOT_INSTALLED',
      message: `expected ${AGENT}, found none`,
      mend: 'dpkg -i docker-preloader_*.deb && systemctl enable docker-preloader',
    });
  if (agent.loadState === 'masked') {
    const enabled = isWanted(docker) ? 'is enabled but masked' : 'is masked';
    faults.push({
      code: 'MASKED',
      message: `${AGENT} ${enabled}: systemd does not start it`,
      mend: `${unmask(agent)} docker-preloader`,
    });
  }
  return faults;
}

function dockerStart(document: BootDocument): Fault[] {
  const docker = firstStart(document, DOCKER);
  const { boot } = document;
  if (docker === undefined) return [];
  const current = unitOf(document, DOCKER);
  if (boot === null) {
    if (!isLoaded(document) || current.activeState !== 'active') return [];
    return [
      {
        code: 'STARTED_EARLY',
        message: 'dockerd started, and docker-preloader has not been READY in this boot',
        mend: 'systemctl start docker-preloader && systemctl restart docker',
      },
    ];
  }
  if (docker.execUsec >= boot.readyUsec) return [];
  const message = `dockerd started ${duration(boot.readyUsec - docker.execUsec)} before docker-preloader was READY`;
  const restarted = current.execMainStartUsec > boot.readyUsec;
  return [
    {
      code: 'STARTED_EARLY',
      message: restarted
        ? `${message}; it was restarted since, the next boot shows whether that was for once`
        : message,
      mend: restarted ? 'systemctl reboot' : 'systemctl restart docker',
    },
  ];
}

function wanted(document: BootDocument): Fault[] {
  if (!isLoaded(document) || isWanted(unitOf(document, DOCKER)) || isForOthersAlone(document)) return [];
  const agent = unitOf(document, AGENT);
  const docker = unitOf(document, DOCKER);
  const starters = [...docker.wantedBy, ...docker.requiredBy].filter((id) => id !== 'multi-user.target');
  const also = starters.length === 0 ? '' : `; ${starters.join(', ')} and ${DOCKER_SOCKET} start it without waiting`;
  const by = agent.wantedBy.length === 0 ? 'wanted by nothing' : `wanted only by ${agent.wantedBy.join(', ')}`;
  return [
    {
      code: 'NOT_WANTED',
      message: `${AGENT} is ${by}: expected ${DOCKER} to want it${also}`,
      mend: isForeign(agent)
        ? `${restoreUnit(agent)} && systemctl reenable docker-preloader`
        : 'systemctl reenable docker-preloader',
    },
  ];
}

function ordered(document: BootDocument): Fault[] {
  const docker = unitOf(document, DOCKER);
  if (!isLoaded(document) || docker.after.includes(AGENT)) return [];
  const agent = unitOf(document, AGENT);
  const mend = isForeign(agent)
    ? restoreUnit(agent)
    : `${writeFile(`${AGENT_DROP_INS}/order.conf`, ['[Unit]', `Before=${DOCKER}`])} && ${RELOAD}`;
  return [
    {
      code: 'NOT_ORDERED',
      message: `${AGENT} (${agent.fragmentPath}) is not ordered before ${DOCKER}: Docker does not wait for it`,
      mend,
    },
  ];
}

function mountOrder(document: BootDocument): Fault[] {
  // Most mounts are waited for through targets. Without those, nothing can be said.
  if (!isLoaded(document) || document.others.length === 0) return [];
  const started = firstStart(document, AGENT);
  return document.mounts.flatMap(({ kind, unit, path, activeEnterUsec }): Fault[] => {
    if (kind !== 'data-root' || unit === '-.mount' || isOrderedAfter(document, AGENT, unit)) return [];
    const late =
      started !== undefined && activeEnterUsec > started.startUsec
        ? `, and was mounted ${duration(activeEnterUsec - started.startUsec)} after its start`
        : '';
    return [
      {
        code: 'MOUNT_ORDER',
        message: `${AGENT} does not wait for ${path}, which the data root ${document.config.dataRoot} is on${late}`,
        // In a path, systemd takes a space as the start of the next one and a percent sign as a specifier.
        mend: `${writeFile(`${AGENT_DROP_INS}/data-root.conf`, ['[Unit]', `RequiresMountsFor=${document.config.dataRoot.replaceAll('%', '%%').replaceAll(' ', String.raw`\x20`)}`])} && ${RELOAD}`,
      },
    ];
  });
}

function namespace(document: BootDocument): Fault[] {
  const { namespaceDirectives: directives } = unitOf(document, AGENT);
  if (document.ownNamespace === false || (document.ownNamespace === null && directives.length === 0)) return [];
  const cause = directives.length === 0 ? '' : ` by ${directives.join(', ')}`;
  const reset = directives.map((directive) => resetDirective(directive.split('=')[0] ?? ''));
  return [
    {
      code: 'OWN_NAMESPACE',
      message: `${AGENT} has a mount namespace of its own${cause}: dockerd sees empty folders where disks are mounted`,
      mend:
        reset.length === 0
          ? `systemctl revert ${AGENT} && systemctl restart docker-preloader docker`
          : `${writeFile(`${AGENT_DROP_INS}/zz-mounts.conf`, ['[Service]', ...reset])} && ${RELOAD} && systemctl restart docker-preloader docker`,
    },
  ];
}

/** The line that resets a directive: switches take `no`, two have a name for their default, and lists are emptied. */
function resetDirective(name: string): string {
  if (name === 'ProtectProc') return 'ProtectProc=default';
  if (name === 'ProcSubset') return 'ProcSubset=all';
  return /^(?:Private|Protect|Dynamic|MountAPIVFS)/.test(name) ? `${name.replace(/Ex$/, '')}=no` : `${name}=`;
}

function orderingCycle(document: BootDocument): Fault[] {
  const cycle = findCycle(document);
  if (cycle.length === 0) {
    // systemd's messages may be about a cycle that has been repaired since in this boot.
    const ours = document.cycleMessages.filter((message) => /docker/.test(message));
    const deleted = ours.find((message) => /deleted/.test(message)) ?? ours[0];
    return deleted === undefined
      ? []
      : [
          {
            code: 'ORDERING_CYCLE',
            message: `systemd found an ordering cycle in this boot: ${deleted}`,
            mend: 'systemctl reboot',
          },
        ];
  }
  const known = new Set([AGENT, AGENT_SOCKET, DOCKER, DOCKER_SOCKET, CONTAINERD, FILLER, BEFORE_CONTAINERD]);
  const ours = cycle.includes(FILLER) && !cycle.includes(AGENT) ? FILLER : AGENT;
  const foreign = cycle.find((id) => !known.has(id) && /\.(?:service|socket|timer|path)$/.test(id));
  return [
    {
      code: 'ORDERING_CYCLE',
      message: `an ordering cycle, each waits for the next: ${[...cycle, cycle[0]].join(' → ')}; systemd leaves one of them out`,
      mend:
        foreign === undefined
          ? `systemctl revert ${ours}`
          : `systemctl disable ${quoted(foreign)} && systemctl revert ${ours}`,
    },
  ];
}

function strictness(document: BootDocument): Fault[] {
  const { required } = document.config;
  const docker = unitOf(document, DOCKER);
  if (required.length === 0 || docker.loadState === 'not-found') return [];
  const apply = docker.execStartPre.filter(({ argv }) => /\bdocker-preloader(?: \S+)* apply\b/.test(argv));
  if (apply.some(({ ignoreErrors }) => !ignoreErrors)) return [];
  const found = apply.length === 0 ? 'no drop-in at all' : 'the lenient drop-in';
  return [
    {
      code: 'NOT_STRICT',
      message: `${required.join(', ')} required, but Docker starts without: expected the strict drop-in, found ${found}`,
      mend: `install -D -m 644 ${STRICT_SOURCE} ${STRICT_TARGET} && ${RELOAD}`,
    },
  ];
}

function belowDataRoot(document: BootDocument): Fault[] {
  return document.mounts.flatMap(({ kind, path, unit, fragmentPath, deviceNumber }): Fault[] => {
    if (kind !== 'below-data-root') return [];
    const label = document.disks.find((disk) => disk.deviceNumber === deviceNumber)?.label ?? 'a preload disk';
    const mend =
      fragmentPath === ''
        ? `umount ${quoted(path)}`
        : isWrittenByHand(fragmentPath)
          ? `systemctl disable --now ${quoted(unit)}`
          : `systemctl mask --now ${quoted(unit)}`;
    return [
      {
        code: 'BELOW_DATA_ROOT',
        message: `disk ${label} is mounted on ${path}, below the data root ${document.config.dataRoot}: dockerd unmounts it when it stops`,
        mend,
      },
    ];
  });
}

/** A unit file in /etc cannot be masked, because the link would need its place. */
function isWrittenByHand(fragmentPath: string): boolean {
  return fragmentPath.startsWith('/etc/systemd/system/');
}

function otherStore(document: BootDocument): Fault[] {
  const { dockerInfo, filled, config } = document;
  if (dockerInfo === null) return [];
  const faults: Fault[] = [];
  const expected = filled?.dataRoot ?? config.dataRoot;
  if (dockerInfo.dataRoot !== expected && dockerInfo.dataRoot !== config.dataRoot) {
    const content = JSON.stringify({ ...config.content, dataRoot: dockerInfo.dataRoot });
    faults.push({
      code: 'OTHER_STORE',
      message: `docker info: expected data root ${expected}, which was filled, found ${dockerInfo.dataRoot}`,
      mend: `${writeFile(config.path, [content])} && systemctl restart docker`,
    });
  }
  const drivers = filledDrivers(document);
  if (!drivers.includes(dockerInfo.storageDriver))
    faults.push({
      code: 'OTHER_STORE',
      message: `docker info: expected storage driver ${drivers.join(' or ')}, the one that is filled, found ${dockerInfo.storageDriver}`,
      mend: mendDriver(document, dockerInfo.storageDriver),
    });
  return faults;
}

/** What each store is called by dockerd, where it has its images there. */
const STORES: Readonly<Record<string, string>> = { overlay2: 'overlay2', overlayfs: 'containerd' };

/** Which of dockerd's drivers has the images. */
function filledDrivers({ filled }: BootDocument): readonly string[] {
  const stores = (filled?.stores ?? []).filter(({ namespace }) => namespace === null || namespace === MOBY);
  const drivers = Object.entries(STORES).flatMap(([driver, name]) =>
    stores.some(({ store }) => store === name) ? [driver] : [],
  );
  return drivers.length === 0 ? ['overlay2'] : drivers;
}

function mendDriver({ config, filled }: BootDocument, driver: string): string {
  const store = STORES[driver];
  if (store !== undefined && (filled?.stores ?? []).length > 0)
    return `${writeFile(config.path, [JSON.stringify({ ...config.content, store })])} && systemctl restart docker`;
  return config.storageDriver === driver
    ? `sed -i 's/"storage-driver" *: *"[^"]*"/"storage-driver": "overlay2"/' ${quoted(config.dockerConfig)} && systemctl restart docker`
    : 'systemctl edit docker    # ExecStart= without --storage-driver, or features.containerd-snapshotter false in daemon.json';
}
