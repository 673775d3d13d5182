import { dirname, join } from './path.ts';
import { readlinkSync } from './fs.ts';
import { become, process } from './process.ts';
import { readFirst } from './read-first.ts';

/** Where it is, seen from our own folder: /usr/lib where we are in /usr/bin. */
const PLACE = '../lib/docker-preloader/docker-preloader';

export function wholeProgram(): string {
  return join(dirname(readlinkSync('/proc/self/exe')), PLACE);
}

/**
 * Goes on in the program that has all of the sources, and a runtime for them. It begins anew, as this one was started,
 * unless it is told otherwise. Process, descriptors and environment stay, so for the service manager it is the same.
 * @throws Error where it is not there
 */
export function becomeWhole(args: readonly string[] = process.argv.slice(2)): never {
  const program = wholeProgram();
  readFirst(program);
  try {
    become(program, ['docker-preloader', ...args]);
  } catch (error) {
    throw notThere(error);
  }
}

export function notThere(cause: unknown): Error {
  return new Error(
    `expected the rest of this program in ${wholeProgram()}, found none that can be started: install the package as a whole`,
    { cause },
  );
}

let goOn: () => never = becomeWhole;

/** From now on, what is beyond the engine goes on in another way than by beginning anew. */
export function whenBeyond(act: () => never): void {
  goOn = act;
}

/** What is beyond the engine was asked for. */
export function goBeyond(): never {
  return goOn();
}
