import { basename, dirname, join } from './path.ts';
import { readFileSync, readlinkSync, statSync } from './fs.ts';
import { become } from './process.ts';
import { readFirst } from './read-first.ts';

/** Where it is, seen from our own folder: /usr/lib where we are in /usr/bin. */
const PLACE = '../lib/docker-preloader/docker-preloader';

/** How many bytes it has, from the build. 0: it is not known. */
declare const WHOLE_BYTES: number;

/**
 * Behind its name: a file that tells how many bytes it has where a packager has changed it, by strip(1) or patchelf(1).
 * Who has not been told could not know a changed one from a part.
 */
const CHANGED = '.bytes';

const EXECUTABLE = 0o111;
const NONE = 'none that can be started';
/** What the kernel says behind the path of a file that is there no more, or is another one. */
const GONE = ' (deleted)';

/** The whole program of the same build. @throws Error where it is not there */
export function wholeProgram(): string {
  const program = join(dirname(ownFile()), PLACE);
  const found = faultOf(program);
  if (found !== undefined) throw notThere(program, found);
  return program;
}

function faultOf(program: string): string | undefined {
  try {
    const stats = statSync(program);
    if (!stats.isFile() || (stats.mode & EXECUTABLE) === 0) return NONE;
    return WHOLE_BYTES === 0 || stats.size === WHOLE_BYTES || isChanged(program, stats.size)
      ? undefined
      : 'a part of it, or that of another version';
  } catch {
    return NONE;
  }
}

function isChanged(program: string, size: number): boolean {
  try {
    return readFileSync(program + CHANGED, 'utf8').trim() === String(size);
  } catch {
    return false;
  }
}

function notThere(program: string, found: string, cause?: unknown): Error {
  return new Error(`expected the rest of this program in ${program}, found ${found}: install the package as a whole`, {
    cause,
  });
}

const ownFile = (): string => readlinkSync('/proc/self/exe');

/**
 * Goes on in the program that has all of the sources, and a runtime for them. It begins anew, as this one was started,
 * unless it is told otherwise. Process, descriptors and environment stay, so for the service manager it is the same.
 * @throws Error where it is not there
 */
export function becomeWhole(args?: readonly string[]): never {
  const program = wholeProgram();
  readFirst(program);
  try {
    become(program, args === undefined ? undefined : ['docker-preloader', ...args]);
  } catch (error) {
    throw notThere(program, NONE, error);
  }
}

/** Whether the file that we were started from is no longer the one that is installed. */
export function isReplaced(): boolean {
  return ownFile().endsWith(GONE);
}

/**
 * Where the package has been upgraded since we were started, what is installed begins anew as this process: the rest of
 * this program is no longer there, and what takes its place need not know what we would tell it.
 */
export function becomeUpgraded(): void {
  if (isReplaced()) becomeInstalled();
}

/**
 * What is installed begins anew as this process.
 * @param variable `NAME=value`, which its environment has besides
 */
export function becomeInstalled(variable?: string): void {
  const own = ownFile();
  const name = basename(own);
  try {
    become(join(dirname(own), name.endsWith(GONE) ? name.slice(0, -GONE.length) : name), undefined, variable);
  } catch {
    // It has been removed, and not upgraded.
  }
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
