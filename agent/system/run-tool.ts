import { accessSync, constants, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { runProgram, startProgram, type Ran, type RunningProgram } from './child-process.ts';
import { environment } from './environment.ts';
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
  prlimit: 'util-linux',
  setpriv: 'util-linux',
  skopeo: 'skopeo',
  'ssh-keygen': 'openssh-client',
  timeout: 'coreutils',
  unshare: 'util-linux',
} as const;

export type Tool = keyof typeof packages;

/**
 * Runs a program to its end.
 * @param input `inherit` for our own standard input; undefined for none
 * @returns what it printed
 * @throws PreloaderError TOOL_MISSING with the package, BUILD_FAILED with its error output
 */
export async function runTool(tool: Tool, args: readonly string[], input?: 'inherit'): Promise<string> {
  return outputOf(await runProgram(tool, args, { stdin: input }), tool, `${tool} ${args[0] ?? ''}`);
}

/** Ended by the kernel when we end, however that is (prctl(2), PR_SET_PDEATHSIG). */
export const WITH_US = ['--pdeathsig', 'KILL'] as const;

/**
 * Starts a program that runs beside us. It does not outlive us, even if we are killed.
 * @param output the descriptor that its output and errors go to, or `pipe` for streams
 * @param privateMounts whether it gets a mount namespace of its own, so that its mounts end with it; this needs root
 * @param folder where it runs, and makes its temporary files; by default our own
 * @throws PreloaderError TOOL_MISSING
 */
export function startTool(
  tool: Tool,
  args: readonly string[],
  output: number | 'pipe',
  { privateMounts = false, folder }: { readonly privateMounts?: boolean; readonly folder?: string } = {},
): RunningProgram {
  const program = [pathOf(tool), ...args];
  const own = privateMounts ? [pathOf('unshare'), '--mount'] : [];
  const env = folder === undefined ? undefined : { ...environment(), ...absoluteFiles(), TMPDIR: folder };
  return startProgram(pathOf('setpriv'), [...WITH_US, ...own, ...program], output, env, folder);
}

/** Where skopeo, docker and Go's libraries look for credentials, certificates and settings. */
const FILE_VARIABLES = [
  'REGISTRY_AUTH_FILE',
  'DOCKER_CONFIG',
  'DOCKER_CERT_PATH',
  'CONTAINERS_CONF',
  'CONTAINERS_REGISTRIES_CONF',
  'CONTAINERS_STORAGE_CONF',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'XDG_CONFIG_HOME',
  'XDG_DATA_HOME',
  'XDG_RUNTIME_DIR',
  'HOME',
] as const;

/** The variables that name files, by whole paths, for a program that runs in another folder than we do. */
function absoluteFiles(): Record<string, string> {
  const all = environment();
  return Object.fromEntries(
    FILE_VARIABLES.flatMap((name) => {
      const value = all[name] ?? '';
      return value === '' ? [] : [[name, resolve(value)] as const];
    }),
  );
}

/**
 * Runs a shell script whose mounts nobody else sees, and which ends with us, together with all that it has started.
 * @param what it does, for the error
 * @throws PreloaderError TOOL_MISSING, BUILD_FAILED
 */
export async function runWithPrivateMounts(what: string, script: string, args: readonly string[]): Promise<void> {
  const shell = [pathOf('unshare'), '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script, 'sh', ...args];
  outputOf(await runProgram(pathOf('setpriv'), [...WITH_US, ...shell]), 'setpriv', what);
}

function outputOf({ failed, cause, stdout, stderr, code }: Ran, tool: Tool, what: string): string {
  if (!failed) return stdout;
  if (code === 'ENOENT' || isENOENT(cause)) throw toolMissing(tool);
  throw new PreloaderError('BUILD_FAILED', `${what}: ${messageOf(stderr.trim() || cause)}`);
}

/** Makes sure that a program is there before hours of work. @throws PreloaderError TOOL_MISSING */
export function requireTool(tool: Tool): void {
  pathOf(tool);
}

/** Where the tool is, by its whole path. @throws PreloaderError TOOL_MISSING */
export function pathOf(tool: Tool): string {
  const path = findProgram(tool);
  if (path === undefined) throw toolMissing(tool);
  return resolve(path);
}

/** Where a program is that PATH leads to, or that is given by its path; undefined where there is none. */
export function findProgram(program: string): string | undefined {
  const paths = program.includes('/')
    ? [program]
    : (environment()['PATH'] ?? '').split(':').map((folder) => join(folder, program));
  return paths.find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

export function toolMissing(tool: Tool): PreloaderError {
  return new PreloaderError(
    'TOOL_MISSING',
    `expected the program '${tool}', found none: install the package ${packages[tool]}`,
  );
}
