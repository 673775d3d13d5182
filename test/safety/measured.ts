import { readFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';
import { fetchDebianPackage } from '../support/debian-packages.ts';

export interface Measured {
  readonly exitCode: number | undefined;
  readonly all: string;
  /** Its largest resident set, in megabytes. */
  readonly peakMb: number;
  readonly seconds: number;
}

/**
 * Runs a command of the agent and measures what it took (GNU time: ru_maxrss of wait4(2)).
 * @param log where time writes to
 */
export async function measured(
  args: readonly string[],
  log: string,
  command: readonly string[] = agentCommand(),
): Promise<Measured> {
  const time = path.join(await fetchDebianPackage('bookworm', ['time']), 'usr/bin/time');
  const { exitCode, all } = await execa(time, ['--quiet', '--format', '%M %e', '--output', log, ...command, ...args], {
    reject: false,
    all: true,
    stdin: 'ignore',
    timeout: 120_000,
    maxBuffer: 2 ** 26,
  });
  const [kilobytes = NaN, seconds = NaN] = readFileSync(log, 'utf8').trim().split(' ').map(Number);
  return { exitCode, all, peakMb: kilobytes / 1024, seconds };
}
