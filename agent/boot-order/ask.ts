import { runProgram } from '../system/child-process.ts';
import { isENOENT, messageOf } from '../system/errors.ts';

/** What a program printed, or why it could not be asked. */
export type Answer = { readonly text: string } | { readonly problem: string };

/** An emulated machine, or one that is busy booting, takes tens of seconds. */
const TIMEOUT_MS = 60_000;
const MAX_BYTES = 8 * 1024 * 1024;

/** Runs a program in the C locale, so that its output can be parsed. Never throws. */
export async function ask(program: string, args: readonly string[]): Promise<Answer> {
  try {
    const { stdout, stderr, exitCode, timedOut, isMaxBuffer } = await runProgram(program, args, {
      timeoutMs: TIMEOUT_MS,
      maxBytes: MAX_BYTES,
      env: { LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '' },
    });
    // If the limit was reached, we have the beginning of the boot, which is enough.
    if (exitCode === 0 || isMaxBuffer) return { text: stdout };
    if (timedOut) return { problem: `${program}: no answer within ${TIMEOUT_MS / 1000} s` };
    return exitCode === undefined
      ? { problem: `${program}: not installed` }
      : { problem: `${program} ${args[0] ?? ''}: ${messageOf(stderr.trim() || `exit status ${exitCode}`)}` };
  } catch (error) {
    return { problem: isENOENT(error) ? `${program}: not installed` : `${program}: ${messageOf(error)}` };
  }
}
