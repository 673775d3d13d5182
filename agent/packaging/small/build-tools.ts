import { existsSync } from 'node:fs';
import { type Architecture, ownArchitecture } from '../architecture.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { findProgram } from '../../system/run-tool.ts';
import { tellLine } from '../../system/stderr.ts';

/** The Debian packages of all that the build calls. */
export const buildPackages = ['gcc', 'libc6-dev', 'patch', 'tar', 'xz-utils'];

/** What the build calls, with the Debian package that has it. */
const tools = {
  gcc: 'gcc',
  ld: 'binutils',
  patch: 'patch',
  tar: 'tar',
  xz: 'xz-utils',
} as const;
const LIBC_HEADER = '/usr/include/stdio.h';

/** The Debian packages that another architecture takes besides. */
export function crossPackages({ name, gnuName }: Architecture): readonly string[] {
  return [`gcc-${gnuName.replace('_', '-')}`, `libc6-dev-${name}-cross`];
}

/**
 * Makes sure that all is there before anything is made.
 * @param architecture what is built for
 * @throws PreloaderError TOOL_MISSING, naming the Debian packages of all that is missing
 */
export function requireBuildTools(architecture: Architecture): void {
  const missing = [
    ...Object.entries(tools).flatMap(([tool, name]) => (findProgram(tool) === undefined ? [name] : [])),
    ...(existsSync(LIBC_HEADER) ? [] : ['libc6-dev']),
    ...(architecture === ownArchitecture() ? [] : missingCrossPackages(architecture)),
  ];
  if (missing.length > 0)
    throw new PreloaderError(
      'TOOL_MISSING',
      `expected what the small engine is compiled with, found no ${missing.join(', ')}: install it, on Debian with \`apt-get install --no-install-recommends ${missing.join(' ')}\``,
    );
}

function missingCrossPackages(architecture: Architecture): string[] {
  const [compiler = '', library = ''] = crossPackages(architecture);
  return [
    ...(findProgram(compilerName(architecture)) === undefined ? [compiler] : []),
    ...(existsSync(`/usr/${architecture.gnuName}/include/stdio.h`) ? [] : [library]),
  ];
}

/** What gcc for an architecture is called here. */
export function compilerName(architecture: Architecture): string {
  return architecture === ownArchitecture() ? 'gcc' : `${architecture.gnuName}-gcc`;
}

/**
 * Whether an error is told in one line: what is missing, and what a disk, a tool or a network does not do. What is left
 * is a fault of ours, of which the stack tells where it is.
 */
export function isTold(error: unknown): error is Error {
  return error instanceof PreloaderError || (error instanceof Error && error.name === 'Error');
}

/** Builds something. What it lacks is told in one line, and ends the process; a fault is thrown. */
export async function buildOrTell<Result>(make: () => Promise<Result>): Promise<Result> {
  try {
    return await make();
  } catch (error) {
    if (!isTold(error)) throw error;
    tellLine(`build: ${messageOf(error)}`);
    process.exit(1);
  }
}
