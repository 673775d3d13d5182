import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';

interface ShellResult {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs `build` by a shell, for what only that can do with its streams.
 * @param script with `$build` for the command
 * @param folder where it runs, with a folder `tmp` for TMPDIR
 */
export async function buildByShell(script: string, folder: string): Promise<ShellResult> {
  const line = script.replaceAll('$build', [...agentCommand(), 'build'].join(' '));
  const { exitCode, stdout, stderr } = await execa('bash', ['-c', line], {
    cwd: folder,
    reject: false,
    env: { TMPDIR: `${folder}/tmp` },
  });
  return { exitCode, stdout, stderr };
}
