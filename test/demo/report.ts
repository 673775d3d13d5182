import { execa } from 'execa';
import type { AgentTimeline } from './agent-daemon.ts';
import { say, table } from './transcript.ts';

/** What a run measured. */
export interface Measured {
  /** From the agent's start to its READY=1; where a service manager started it, from its first phase. */
  readonly readyMs: number;
  /** `docker load` of the same images into an empty Docker. */
  readonly loadMs: number;
  readonly preloadedBytes: number;
  readonly loadedBytes: number;
}

/** The agent's phases one below the other, with the time that each took. */
export function printTimeline({ timings, readyUsec }: AgentTimeline): void {
  const [first] = timings;
  if (first === undefined) return;
  const widthUsec = Math.max(1, readyUsec - first.startUsec) / 40;
  const rows = timings.map(({ phase, startUsec }, index) => {
    const endUsec = timings[index + 1]?.startUsec ?? readyUsec;
    const bar =
      ' '.repeat(Math.round((startUsec - first.startUsec) / widthUsec)) +
      '#'.repeat(Math.max(1, Math.round((endUsec - startUsec) / widthUsec)));
    return [phase, milliseconds((startUsec - first.startUsec) / 1000), milliseconds((endUsec - startUsec) / 1000), bar];
  });
  table([['PHASE', 'STARTS AT', 'TAKES', ''], ...rows]);
}

/** The agent beside `docker load`: time, and what the data root takes. */
export function printComparison({ readyMs, loadMs, preloadedBytes, loadedBytes }: Measured): void {
  table([
    ['', 'TIME', 'DATA ROOT'],
    ['docker-preloader, start to READY=1', milliseconds(readyMs), megabytes(preloadedBytes)],
    ['docker load of the same images', milliseconds(loadMs), megabytes(loadedBytes)],
  ]);
  say(
    `  READY came ${(loadMs / readyMs).toFixed(loadMs / readyMs < 10 ? 1 : 0)} times sooner, and took ${((100 * preloadedBytes) / loadedBytes).toFixed(1)} % of the space; both measured in this run, dockerd's own files included.`,
  );
}

/** What a folder takes on its filesystem, with what its symlinks point to not counted. */
export async function diskUsageBytes(folder: string): Promise<number> {
  const { stdout } = await execa('du', ['--summarize', '--block-size=1', folder]);
  return Number.parseInt(stdout, 10);
}

function milliseconds(value: number): string {
  return `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
