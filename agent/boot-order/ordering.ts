import { AGENT, DOCKER, DOCKER_SOCKET, type BootDocument } from './document.ts';

function afterById({ others, units }: BootDocument): ReadonlyMap<string, readonly string[]> {
  return new Map([...others, ...units].map((unit) => [unit.id, unit.after]));
}

/** Whether the start of a unit waits for another, directly or by way of others: a mount of local-fs.target, for instance. */
export function isOrderedAfter(document: BootDocument, id: string, other: string): boolean {
  return wayTo(afterById(document), id, other) !== undefined;
}

/** The shortest way from the agent, docker.service or docker.socket back to itself, by what each is ordered after; else empty. */
export function findCycle(document: BootDocument): readonly string[] {
  const after = afterById(document);
  for (const start of [AGENT, DOCKER, DOCKER_SOCKET]) {
    const way = wayTo(after, start, start);
    if (way !== undefined) return way;
  }
  return [];
}

/** The units from `start` on to the last before `target`, the shortest way. */
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
  for (let id = last; id !== start; ) {
    id = cameFrom.get(id) ?? start;
    way.unshift(id);
  }
  return way;
}
