import { DOCKER, type BootDocument, type UnitFacts } from './boot-document.ts';
import { endOf, firstStart } from './first-start.ts';

/** A unit on the critical path to docker.service. */
export interface PathUnit {
  readonly unit: string;
  readonly startUsec: number;
  readonly endUsec: number;
}

/** systemd reads the clock once for an end and again for the start that waited for it. */
const SLACK_USEC = 1000;

/**
 * The critical path to a unit, as in `systemd-analyze critical-chain`: of all units that the start was ordered after,
 * the one that was up last, and so on back to the beginning. It is in order of time, with the unit itself at the end.
 */
export function criticalPath(document: BootDocument, target: string = DOCKER): PathUnit[] {
  const units = unitsById(document);
  const path: PathUnit[] = [];
  const seen = new Set<string>();
  for (let id: string | undefined = target; id !== undefined && !seen.has(id);) {
    seen.add(id);
    const span = spanOf(document, units.get(id), id);
    if (span === undefined) break;
    path.unshift({ unit: id, ...span });
    id = lastBefore(document, units, units.get(id)?.after ?? [], span.startUsec);
  }
  return path;
}

/** The unit that a start waited for: of those that it was ordered after, the one that was up last before it. */
export function waitedFor(document: BootDocument, id: string): PathUnit | undefined {
  const units = unitsById(document);
  const span = spanOf(document, units.get(id), id);
  if (span === undefined) return undefined;
  const before = lastBefore(document, units, units.get(id)?.after ?? [], span.startUsec);
  const found = before === undefined ? undefined : spanOf(document, units.get(before), before);
  return before === undefined || found === undefined ? undefined : { unit: before, ...found };
}

function unitsById({ units, others }: BootDocument): ReadonlyMap<string, UnitFacts> {
  return new Map([...others, ...units].map((unit) => [unit.id, unit]));
}

function spanOf(document: BootDocument, unit: UnitFacts | undefined, id: string): Omit<PathUnit, 'unit'> | undefined {
  const start = document.units.some((one) => one.id === id) ? firstStart(document, id) : undefined;
  if (start !== undefined) return { startUsec: start.startUsec, endUsec: start.endUsec };
  const endUsec = unit === undefined ? 0 : endOf(unit);
  if (unit === undefined || endUsec === 0) return undefined;
  return { startUsec: unit.inactiveExitUsec === 0 ? endUsec : unit.inactiveExitUsec, endUsec };
}

function lastBefore(
  document: BootDocument,
  units: ReadonlyMap<string, UnitFacts>,
  after: readonly string[],
  startUsec: number,
): string | undefined {
  let last: { readonly id: string; readonly endUsec: number; readonly startUsec: number } | undefined;
  for (const id of after) {
    // A slice is always up before anything in it, and takes no time.
    if (id.endsWith('.slice')) continue;
    const span = spanOf(document, units.get(id), id);
    if (span === undefined || span.endUsec === 0 || span.endUsec > startUsec + SLACK_USEC) continue;
    // If two were up at the same time, the one that began later is taken.
    if (
      last === undefined ||
      span.endUsec > last.endUsec ||
      (span.endUsec === last.endUsec && span.startUsec > last.startUsec)
    )
      last = { id, ...span };
  }
  return last?.id;
}
