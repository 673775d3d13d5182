import { FILLER } from '../containerd/filler-unit.ts';
import { AGENT, DOCKER, DOCKER_SOCKET, unitOf, type BootDocument, type UnitFacts } from './boot-document.ts';

function afterById({ others, units }: BootDocument): ReadonlyMap<string, readonly string[]> {
  return new Map([...others, ...units].map((unit) => [unit.id, unit.after]));
}

/** Whether the start of docker.service also starts the agent. */
export function isWanted(docker: UnitFacts): boolean {
  return docker.wants.includes(AGENT) || docker.requires.includes(AGENT);
}

/** Whether systemd has our unit and can start it. Other faults of the unit are reported only then. */
export function isLoaded(document: BootDocument): boolean {
  return unitOf(document, AGENT).loadState === 'loaded' && unitOf(document, DOCKER).loadState !== 'not-found';
}

/**
 * Whether the start of a unit waits for another, directly or through others, for example for a mount through
 * local-fs.target.
 */
export function isOrderedAfter(document: BootDocument, id: string, other: string): boolean {
  return wayTo(afterById(document), id, other) !== undefined;
}

/** The shortest ordering cycle through the agent, Docker's units or what fills containerd; empty if there is none. */
export function findCycle(document: BootDocument): readonly string[] {
  const after = afterById(document);
  for (const start of [AGENT, DOCKER, DOCKER_SOCKET, FILLER]) {
    const way = wayTo(after, start, start);
    if (way !== undefined) return way;
  }
  return [];
}

/** The units on the shortest way from `start` to the last one before `target`. */
function wayTo(after: ReadonlyMap<string, readonly string[]>, start: string, target: string): string[] | undefined {
  const cameFrom = new Map<string, string>();
  const queue = [start];
  for (const id of queue) {
    for (const next of after.get(id) ?? []) {
      if (next === target) return wayBack(cameFrom, start, id);
      if (cameFrom.has(next) || next === start) continue;
      cameFrom.set(next, id);
      queue.push(next);
    }
  }
  return undefined;
}

function wayBack(cameFrom: ReadonlyMap<string, string>, start: string, last: string): string[] {
  const way = [last];
  for (let id = last; id !== start;) {
    id = cameFrom.get(id) ?? start;
    way.unshift(id);
  }
  return way;
}
