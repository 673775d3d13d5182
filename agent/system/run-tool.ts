import { runProgram } from './child-process.ts';
import { isENOENT, messageOf, PreloaderError } from './errors.ts';

/** The programs that a build may call, with the Debian package of each. */
const packages = {
  'qemu-img': 'qemu-utils',
  'qemu-system-x86_64': 'qemu-system-x86',
  dockerd: 'docker.io',
  docker: 'docker.io',
  mke2fs: 'e2fsprogs',
  mount: 'mount',
  umount: 'mount',
  xz: 'xz-utils',
  cp: 'coreutils',
  du: 'coreutils',
} as const;

export type Tool = keyof typeof packages;

/**
 * Runs a program to its end.
 * @param input `inherit` for our own standard input; undefined for none
 * @returns what it printed
 * @throws PreloaderError TOOL_MISSING with the package, BUILD_FAILED with its error output
 */
export async function runTool(tool: Tool, args: readonly string[], input?: 'inherit'): Promise<string> {
  const { failed, cause, stdout, stderr, code } = await runProgram(tool, args, { stdin: input });
  if (!failed) return stdout;
  if (code === 'ENOENT' || isENOENT(cause)) throw toolMissing(tool);
  throw new PreloaderError('BUILD_FAILED', `${tool} ${args[0] ?? ''}: ${messageOf(stderr.trim() || cause)}`);
}

export function toolMissing(tool: Tool): PreloaderError {
  return new PreloaderError(
    'TOOL_MISSING',
    `expected the program '${tool}', found none: install the package ${packages[tool]}`,
  );
}
