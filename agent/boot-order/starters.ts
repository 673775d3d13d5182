import { AGENT, DOCKER, DOCKER_SOCKET, unitOf, type BootDocument } from './boot-document.ts';
import type { Fault } from './fault.ts';
import { firstStart } from './first-start.ts';
import { findCycle, isLoaded, isWanted } from './ordering.ts';
import { quoted } from './shell.ts';

/**
 * Finds a dockerd that was not started by docker.service, or a docker.service that was started without its
 * dependencies.
 */
export function startedElsewhere(document: BootDocument): Fault[] {
  const faults: Fault[] = [];
  const waits = (id: string): boolean => {
    const unit = [...document.units, ...document.others].find((one) => one.id === id);
    return unit !== undefined && unit.after.includes(AGENT) && isWanted(unit);
  };
  const socket = unitOf(document, DOCKER_SOCKET);
  for (const id of socket.triggers) {
    if (id !== DOCKER && !waits(id))
      faults.push({
        code: 'STARTED_ELSEWHERE',
        message: `${DOCKER_SOCKET} starts ${id}, which does not wait for ${AGENT}: expected it to start ${DOCKER}`,
        mend: `systemctl revert ${DOCKER_SOCKET} && systemctl daemon-reload && systemctl restart ${DOCKER_SOCKET}`,
      });
  }
  for (const { pid, unit } of document.dockerds) {
    if (unit === DOCKER || waits(unit) || socket.triggers.includes(unit)) continue;
    const isService = unit.endsWith('.service');
    faults.push({
      code: 'STARTED_ELSEWHERE',
      message: `dockerd (PID ${pid}) was started by ${unit === '' ? 'no unit' : unit}, which does not wait for ${AGENT}`,
      mend: isService
        ? `systemctl disable --now ${quoted(unit)} && systemctl enable --now docker`
        : `kill ${pid}; systemctl enable --now docker`,
    });
  }
  return [...faults, ...passedOver(document)];
}

/** `systemctl --job-mode=ignore-dependencies` starts docker.service without them. */
function passedOver(document: BootDocument): Fault[] {
  const docker = firstStart(document, DOCKER);
  const agent = firstStart(document, AGENT);
  const isRight =
    isLoaded(document) && isWanted(unitOf(document, DOCKER)) && unitOf(document, DOCKER).after.includes(AGENT);
  if (docker === undefined || !isRight || document.enabledUsec > docker.startUsec || findCycle(document).length > 0)
    return [];
  if (agent !== undefined && agent.startUsec <= docker.startUsec) return [];
  const suspects = document.others.filter(({ execStart }) => startsDocker(execStart));
  const active = suspects.filter(({ unitFileState }) => unitFileState !== 'disabled').map(({ id }) => id);
  const who = suspects.length === 0 ? 'something' : suspects.map(({ id }) => id).join(', ');
  const message = `${who} started ${DOCKER} without its dependencies, so that it did not wait for ${AGENT}`;
  if (suspects.length > 0 && active.length === 0)
    return [
      {
        code: 'STARTED_ELSEWHERE',
        message: `${message}; it is disabled now, and the next boot shows whether that was all`,
        mend: 'systemctl reboot',
      },
    ];
  return [
    {
      code: 'STARTED_ELSEWHERE',
      message,
      mend:
        active.length === 0
          ? "grep -rn 'job-mode=ignore' /etc /usr/local"
          : `systemctl disable ${active.map(quoted).join(' ')}`,
    },
  ];
}

/** Whether a command line starts Docker through the service manager. */
export function startsDocker(commandLine: string): boolean {
  return (
    /\bsystemctl\b.*\b(?:re)?start\b.*\bdocker\b/.test(commandLine) ||
    /\bservice\s+docker\s+(?:re)?start\b/.test(commandLine)
  );
}
