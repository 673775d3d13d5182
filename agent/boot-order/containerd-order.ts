import { MOBY } from '../docker/daemon-config.ts';
import { enableFiller, FILLER, WITH_OWN_CONTAINERD } from '../containerd/filler-unit.ts';
import {
  AGENT,
  BEFORE_CONTAINERD,
  CONTAINERD,
  DOCKER,
  KUBELET,
  unitOf,
  type BootDocument,
  type UnitFacts,
} from './boot-document.ts';
import type { Fault } from './fault.ts';
import { firstStart } from './first-start.ts';
import { duration } from './format.ts';
import { writeFile } from './shell.ts';
import { isForeign, RELOAD, restoreUnit, unmask } from './unit-file.ts';

/**
 * Namespaces of containerd that are filled for others than dockerd. Its own is filled by docker.service's drop-in, and
 * needs no unit.
 */
function namespacesOfOthers({ filled }: BootDocument): readonly string[] {
  return (filled?.stores ?? []).flatMap(({ store, namespace }) =>
    store === 'containerd' && namespace !== null && namespace !== MOBY ? [namespace] : [],
  );
}

/** Whether nothing is filled that dockerd would use. */
export function isForOthersAlone(document: BootDocument): boolean {
  const stores = document.filled?.stores ?? [];
  return stores.length > 0 && namespacesOfOthers(document).length === stores.length;
}

/**
 * Checks the order around containerd: first the agent, then containerd, then what fills its store, then who uses that.
 * Where nothing of this is enabled and nobody but dockerd needs it, there is nothing to check.
 */
export function containerdOrder(document: BootDocument): Fault[] {
  const filler = unitOf(document, FILLER);
  if (!isWanted(filler)) return notWanted(document);
  const short = FILLER.replace('.service', '');
  if (filler.loadState === 'masked')
    return [
      {
        code: 'MASKED',
        message: `${FILLER} is enabled but masked: systemd does not start it`,
        mend: `${unmask(filler)} ${short}`,
      },
    ];
  const faults = [...usersWait(document, filler), ...fillerWaits(document, filler), ...containerdWaits(document)];
  return faults.length > 0 ? faults : startedEarly(document);
}

function isWanted({ wantedBy, requiredBy }: UnitFacts): boolean {
  return wantedBy.length + requiredBy.length > 0;
}

function isInstalled(document: BootDocument, id: string): boolean {
  return unitOf(document, id).loadState === 'loaded';
}

function notWanted(document: BootDocument): Fault[] {
  const namespaces = namespacesOfOthers(document);
  if (namespaces.length === 0 || !isInstalled(document, AGENT)) return [];
  const user = WITH_OWN_CONTAINERD.find((id) => isInstalled(document, id));
  return [
    {
      code: 'NOT_WANTED',
      message: `${FILLER} is wanted by nothing: expected it to be enabled, since namespace ${namespaces.join(', ')} of containerd is filled, and nothing waits for that`,
      mend: enableFiller(user),
    },
  ];
}

function usersWait(document: BootDocument, filler: UnitFacts): Fault[] {
  return [DOCKER, KUBELET, ...WITH_OWN_CONTAINERD].flatMap((id): Fault[] =>
    !isInstalled(document, id) || unitOf(document, id).after.includes(FILLER)
      ? []
      : [notOrdered(`${FILLER} (${filler.fragmentPath}) is not ordered before ${id}`, filler, `Before=${id}`)],
  );
}

function fillerWaits(document: BootDocument, filler: UnitFacts): Fault[] {
  if (!isInstalled(document, CONTAINERD) || filler.after.includes(CONTAINERD)) return [];
  return [
    notOrdered(
      `${FILLER} (${filler.fragmentPath}) is not ordered after ${CONTAINERD}, whose store it fills`,
      filler,
      `After=${CONTAINERD}`,
    ),
  ];
}

function notOrdered(message: string, unit: UnitFacts, line: string): Fault {
  const mend = isForeign(unit)
    ? restoreUnit(unit)
    : `${writeFile(`/etc/systemd/system/${unit.id}.d/order.conf`, ['[Unit]', line])} && ${RELOAD}`;
  return { code: 'NOT_ORDERED', message, mend };
}

/** An order through a target holds only where something wants the target. */
function containerdWaits(document: BootDocument): Fault[] {
  const containerd = unitOf(document, CONTAINERD);
  const target = unitOf(document, BEFORE_CONTAINERD);
  // That of another than Docker may be installed, and never started.
  const isUsed = containerd.unitFileState === 'enabled' || firstStart(document, CONTAINERD) !== undefined;
  if (containerd.loadState !== 'loaded' || !isUsed || containerd.after.includes(AGENT)) return [];
  if (isWanted(target) && containerd.after.includes(target.id) && target.after.includes(AGENT)) return [];
  const enable = `systemctl reenable ${target.id}`;
  return [
    {
      code: 'NOT_ORDERED',
      message: `${AGENT} is not ordered before ${CONTAINERD}, which may start containers before their disks are mounted: expected ${target.id} to see to that`,
      mend:
        target.loadState === 'masked'
          ? `${unmask(target)} ${target.id}`
          : isForeign(target)
            ? `${restoreUnit(target)} && ${enable}`
            : enable,
    },
  ];
}

/** The order is right, and this boot had another. What was enabled only then has its turn with the next one. */
function startedEarly(document: BootDocument): Fault[] {
  const { boot, fillerEnabledUsec } = document;
  const filler = firstStart(document, FILLER);
  const early = (id: string, doneUsec: number | undefined, what: string): Fault[] => {
    const start = firstStart(document, id);
    if (start === undefined || doneUsec === undefined || fillerEnabledUsec > start.startUsec) return [];
    if (start.startUsec >= doneUsec) return [];
    return [
      {
        code: 'STARTED_EARLY',
        message: `${id} started ${duration(doneUsec - start.startUsec)} before ${what}; the next boot shows whether that was for once`,
        mend: 'systemctl reboot',
      },
    ];
  };
  return [
    ...early(CONTAINERD, boot?.readyUsec, 'docker-preloader was READY'),
    ...[KUBELET, ...WITH_OWN_CONTAINERD].flatMap((id) => early(id, filler?.endUsec, `${FILLER} had ended`)),
  ];
}
