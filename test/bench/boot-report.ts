import type { BootCase, RivalName } from './boot-cases.ts';
import type { AgentTimings, Timed } from './boot-place.ts';
import { fitLine, median, spread } from './statistics.ts';

/** One run of one rival. */
export interface Sample extends Timed, Omit<BootCase, 'name' | 'rivals'> {
  readonly case: string;
  readonly rival: RivalName;
  readonly round: number;
  /** From exec to READY=1 received, or to the end of what sends none. */
  readonly milliseconds: number;
  /** By the agent's own account. */
  readonly agent?: AgentTimings;
}

/** The table: a row for each rival of each case, with the agent's time as a part of it, round by round. */
export function bootTable(samples: readonly Sample[]): Readonly<Record<string, string>>[] {
  const cases = [...new Set(samples.map((sample) => sample.case))];
  return cases.flatMap((name) => {
    const here = samples.filter((sample) => sample.case === name);
    const agent = here.filter((sample) => sample.rival === 'agent');
    return [...new Set(here.map((sample) => sample.rival))].map((rival) => {
      const own = here.filter((sample) => sample.rival === rival);
      const ratios = own.flatMap((sample) => {
        const [first] = agent.filter(({ round }) => round === sample.round);
        return first === undefined || rival === 'agent' ? [] : [first.milliseconds / sample.milliseconds];
      });
      const bytes = own.filter((sample) => sample.bytesToReady > 0).map((sample) => sample.bytesToReady / 1e6);
      const resident = own.filter((sample) => sample.residentKb > 0).map((sample) => sample.residentKb / 1024);
      return {
        case: name,
        rival,
        ms: spread(
          own.map((sample) => sample.milliseconds),
          1,
        ),
        'CPU ms': median(own.map((sample) => (sample.userUsec + sample.systemUsec) / 1000)).toFixed(1),
        'agent takes':
          ratios.length === 0 ? '' : `${spread(ratios, ratios.some((ratio) => ratio < 0.05) ? 4 : 2)} of it`,
        'MB read': bytes.length === 0 ? '' : spread(bytes, 1),
        'resident MB': resident.length === 0 ? '' : spread(resident, 1),
      };
    });
  });
}

/** What each further disk, layer, image and layer of the user's costs. */
export function bootSlopes(samples: readonly Sample[]): Readonly<Record<string, string>>[] {
  const rows: Readonly<Record<string, string>>[] = [];
  for (const by of ['disks', 'layers', 'images'] as const) {
    const line = (rival: RivalName): ReturnType<typeof fitLine> => {
      const own = samples.filter((sample) => sample.group === by && sample.rival === rival);
      return fitLine(
        [...Map.groupBy(own, (sample) => sample[by])].map(
          ([x, list]) => [x, median(list.map((sample) => sample.milliseconds))] as const,
        ),
      );
    };
    const [agent, recipe, floor] = [line('agent'), line('recipe of 2018'), line('floor in C')];
    if (Number.isNaN(agent.slope)) continue;
    rows.push({
      'each further': by.slice(0, -1),
      'agent ms': `${agent.slope.toFixed(3)} (R² ${agent.fit.toFixed(3)})`,
      'recipe ms': recipe.slope.toFixed(3),
      'floor ms': `${floor.slope.toFixed(3)} (R² ${floor.fit.toFixed(3)})`,
      'agent / floor': (agent.slope / floor.slope).toFixed(2),
    });
  }
  const user = Map.groupBy(
    samples.filter((sample) => sample.group === 'user' && sample.rival === 'agent'),
    (sample) => sample.userLayers,
  );
  const [none, many] = [user.get(0) ?? [], user.get(2000) ?? []].map((list) =>
    median(list.map((sample) => sample.milliseconds)),
  );
  if (user.size === 2)
    rows.push({
      'each further': 'layer of the user',
      'agent ms': (((many ?? 0) - (none ?? 0)) / 2000).toFixed(4),
      'recipe ms': '',
      'floor ms': '',
      'agent / floor': '',
    });
  return rows;
}

/** What the agent is at until READY, in milliseconds, medians of the base case. Empty where that was not measured. */
export function agentPhases(samples: readonly Sample[]): ReadonlyMap<string, number> {
  const runs = samples.filter((sample) => sample.group === 'base' && sample.rival === 'agent');
  const phases = new Map<string, number[]>();
  for (const { startUsec, readyUsec, agent } of runs) {
    const marks = [{ phase: 'start', startUsec }, ...(agent?.timings ?? []), { phase: '', startUsec: readyUsec }];
    for (const [index, { phase, startUsec: from }] of marks.slice(0, -1).entries()) {
      phases.set(phase, [...(phases.get(phase) ?? []), ((marks[index + 1]?.startUsec ?? from) - from) / 1000]);
    }
  }
  return new Map([...phases].map(([phase, values]) => [phase, median(values)]));
}
