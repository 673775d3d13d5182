import { execFile } from 'node:child_process';

/**
 * Runs a program that prints little, without execa, which takes longer to load than systemctl takes to answer.
 * @throws Error
 */
export function commandOutput(file: string, args: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: timeoutMs, encoding: 'utf8' }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
}
