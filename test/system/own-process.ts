import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';

/** A file of agent/system/, as a script imports it. */
export const quoted = (name: string): string =>
  JSON.stringify(path.resolve(import.meta.dirname, '../../agent/system', name));

/** Runs a script as a process of its own, for what depends on its environment and number. */
export function runScript(
  script: string,
  env: Readonly<Record<string, string>> = {},
): { readonly stderr: string; readonly stdout: string } {
  const { JOURNAL_STREAM: _, NOTIFY_SOCKET: __, LISTEN_FDS: ___, ...rest } = process.env;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...rest, ...env },
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  return { stdout, stderr };
}
