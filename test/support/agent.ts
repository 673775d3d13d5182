import { existsSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';

export interface AgentResult {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout and stderr as they came. */
  readonly all: string;
}

const root = path.resolve(import.meta.dirname, '../..');

/**
 * The command line of the agent under test: the small executable that `npm run build` makes, which becomes the other
 * one where it must. `DOCKER_PRELOADER_UNDER_TEST` names another one, an installed one for example. Where it is
 * missing, its source runs instead, but not in CI: there the executable itself has to be tested.
 */
export function agentCommand(): readonly [string, ...string[]] {
  const built = process.env['DOCKER_PRELOADER_UNDER_TEST'] ?? path.join(root, 'dist/bin/docker-preloader');
  if (existsSync(built)) return [built];
  if (process.env['CI'] !== undefined) throw new Error(`Expected ${built}: run \`npm run build\` before the tests`);
  return ['sh', path.join(root, 'test/bootstrap.sh'), path.join(root, 'agent/main.ts')];
}

/**
 * Words before a command that is to run without root. It may still read everywhere, since the program may be in a clone
 * that only root can enter.
 */
export const withoutRoot =
  'setpriv --reuid 65534 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search'.split(' ');

/** Runs a command of the agent to its end; whatever exit status it has is returned, not thrown. */
export async function agent(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<AgentResult> {
  const [command, ...before] = agentCommand();
  const { exitCode, stdout, stderr, all } = await execa(command, [...before, ...args], {
    reject: false,
    all: true,
    stdin: 'ignore',
    timeout: 120_000,
    env,
  });
  return { exitCode, stdout, stderr, all };
}
