import type { ContainerdCase, ContainerdRival } from './containerd-cases.ts';
import { fitLine, median, spread } from './statistics.ts';

/** One run of one rival. */
export interface ContainerdSample extends Omit<ContainerdCase, 'name' | 'rivals'> {
  readonly case: string;
  readonly rival: ContainerdRival;
  readonly round: number;
  /**
   * From exec to the end of the process; of the bare client from its connection to its last answer; of dockerd from the
   * moment at which containerd answers to its own first answer.
   */
  readonly milliseconds: number;
  readonly cpuMs: number | undefined;
  readonly bytesRead: number | undefined;
}

/** The table: a row for each rival of each case, with the first one's time as a part of it, round by round. */
export function containerdTable(samples: readonly ContainerdSample[]): Readonly<Record<string, string>>[] {
  return [...Map.groupBy(samples, (sample) => sample.case)].flatMap(([name, here]) => {
    const rivals = [...new Set(here.filter(({ round }) => round === 0).map(({ rival }) => rival))];
    const first = here.filter(({ rival }) => rival === rivals[0]);
    return rivals.map((rival) => {
      const own = here.filter((sample) => sample.rival === rival);
      const ratios = own.flatMap(({ round, milliseconds }) =>
        first.filter((one) => one.round === round && rival !== rivals[0]).map((one) => one.milliseconds / milliseconds),
      );
      const cpu = own.flatMap(({ cpuMs }) => cpuMs ?? []);
      const read = own.flatMap(({ bytesRead = 0 }) => (bytesRead > 0 ? bytesRead / 1e6 : []));
      return {
        case: name,
        rival,
        ms: spread(
          own.map(({ milliseconds }) => milliseconds),
          0,
        ),
        'CPU ms': cpu.length === 0 ? '' : median(cpu).toFixed(0),
        'the first takes':
          ratios.length === 0 ? '' : `${spread(ratios, ratios.some((ratio) => ratio < 0.1) ? 4 : 2)} of it`,
        'MB read': read.length === 0 ? '' : spread(read, 1),
      };
    });
  });
}

/** What each further layer and image costs. */
export function containerdSlopes(samples: readonly ContainerdSample[]): Readonly<Record<string, string>>[] {
  return (['layers', 'images'] as const).flatMap((by) =>
    [
      ...Map.groupBy(
        samples.filter(({ group }) => group === by),
        ({ version }) => version,
      ),
    ].map(([version, own]) => {
      const line = (name: ContainerdRival): ReturnType<typeof fitLine> =>
        fitLine(
          [
            ...Map.groupBy(
              own.filter(({ rival }) => rival === name),
              (sample) => sample[by] ?? 0,
            ),
          ].map(([x, list]) => [x, median(list.map(({ milliseconds }) => milliseconds))] as const),
        );
      const [agent, bare] = [line('agent after run'), line('bare client')];
      return {
        'each further': `${by.slice(0, -1)}, ${version}`,
        'agent ms': `${agent.slope.toFixed(2)} (R² ${agent.fit.toFixed(3)})`,
        'bare client ms': `${bare.slope.toFixed(2)} (R² ${bare.fit.toFixed(3)})`,
        'agent / bare client': (agent.slope / bare.slope).toFixed(2),
      };
    }),
  );
}
