import { dirname, join } from './path.ts';
import { readlinkSync } from './fs.ts';
import { become, process } from './process.ts';

/** Where it is, seen from our own folder: /usr/lib where we are in /usr/bin. */
const PLACE = '../lib/docker-preloader/docker-preloader';

/**
 * Goes on in the program that has all of the sources, and a runtime for them. It begins anew, as this one was started,
 * unless it is told otherwise. Process, descriptors and environment stay, so for the service manager it is the same.
 * @throws Error where it is not there
 */
export function becomeWhole(args: readonly string[] = process.argv.slice(2)): never {
  const program = join(dirname(readlinkSync('/proc/self/exe')), PLACE);
  try {
    become(program, ['docker-preloader', ...args]);
  } catch (error) {
    throw new Error(
      `expected the rest of this program in ${program}, found none that can be started: install the package as a whole`,
      { cause: error },
    );
  }
}
