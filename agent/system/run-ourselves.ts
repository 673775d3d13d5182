import { readFileSync } from 'node:fs';
import { runBeside } from './child-process.ts';

/**
 * Runs this program once more, with other arguments, to its end. It has our output and errors.
 * @returns its exit status, or 128 and the number of the signal that has ended it
 */
export function runOurselves(args: readonly string[]): Promise<number> {
  const words = readFileSync('/proc/self/cmdline', 'utf8').split('\0').slice(0, -1);
  // Under Node, options and the script come before the arguments.
  const before = words.slice(1, words.length - process.argv.slice(2).length);
  // Also where the file has been replaced meanwhile.
  return runBeside('/proc/self/exe', [...before, ...args]);
}
