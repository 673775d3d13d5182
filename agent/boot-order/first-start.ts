import { AGENT, unitOf, type BootDocument, type UnitFacts } from './boot-document.ts';

/** When a unit was first started in this boot, in microseconds of CLOCK_MONOTONIC. */
export interface FirstStart {
  readonly startUsec: number;
  /** When its main process was started, for docker.service dockerd. */
  readonly execUsec: number;
  /** When it was up; 0 if it did not come up. */
  readonly endUsec: number;
  readonly restarted: boolean;
  /** For the agent: whether docker.service's drop-in did the work, and not the agent's own unit. */
  readonly byApply: boolean;
}

/** The journal gets a message a moment after the start itself. A start and a restart are never that close together. */
const SLACK_USEC = 20_000;

/**
 * The first start in this boot. systemd itself knows only a unit's latest start. If the journal has an earlier one,
 * that counts, and for the agent, what it recorded at its first READY.
 * @returns undefined if it has not been started
 */
export function firstStart(document: BootDocument, id: string): FirstStart | undefined {
  const unit = unitOf(document, id);
  const first = document.firstStarts.find((start) => start.unit === id);
  const latest = latestStart(unit);
  if (id === AGENT && document.boot !== null) return agentStart(document.boot, latest, first?.startingUsec ?? 0);
  if (
    first !== undefined &&
    first.startingUsec > 0 &&
    (latest === undefined || first.startingUsec + SLACK_USEC < latest.startUsec)
  ) {
    return {
      startUsec: first.startingUsec,
      execUsec: first.startingUsec,
      endUsec: first.startedUsec,
      restarted: true,
      byApply: false,
    };
  }
  return latest;
}

function latestStart(unit: UnitFacts): FirstStart | undefined {
  const startUsec = unit.inactiveExitUsec === 0 ? unit.activeEnterUsec : unit.inactiveExitUsec;
  if (startUsec === 0) return undefined;
  return {
    startUsec,
    execUsec: Math.max(startUsec, unit.execMainStartUsec),
    endUsec: endOf(unit),
    restarted: false,
    byApply: false,
  };
}

/** When a unit's start was over: when it was active, or done if it does not stay active. */
export function endOf(unit: UnitFacts): number {
  if (unit.activeEnterUsec >= unit.inactiveExitUsec) return unit.activeEnterUsec;
  return unit.inactiveEnterUsec >= unit.inactiveExitUsec ? unit.inactiveEnterUsec : 0;
}

function agentStart(
  boot: NonNullable<BootDocument['boot']>,
  latest: FirstStart | undefined,
  startingUsec: number,
): FirstStart {
  const execUsec = boot.timings[0]?.startUsec ?? boot.readyUsec;
  if (latest !== undefined && latest.startUsec <= execUsec)
    return { startUsec: latest.startUsec, execUsec, endUsec: boot.readyUsec, restarted: false, byApply: false };
  const isOfUnit = startingUsec > 0 && startingUsec <= execUsec;
  // A unit that was never started, or according to the journal only later, did not do the work.
  const byApply = !isOfUnit && (latest === undefined || startingUsec > 0);
  return {
    startUsec: isOfUnit ? startingUsec : execUsec,
    execUsec,
    endUsec: boot.readyUsec,
    restarted: !byApply,
    byApply,
  };
}
