import { runProgram } from '../../system/child-process.ts';
import { PreloaderError } from '../../system/errors.ts';
import { findProgram } from '../../system/run-tool.ts';

/** What a release calls besides what the build calls, with the Debian package that has it. */
const tools = {
  'apt-ftparchive': 'apt-utils',
  'dpkg-deb': 'dpkg',
  gpg: 'gnupg',
  mksquashfs: 'squashfs-tools',
  npm: 'npm',
  tar: 'tar',
} as const;

/** The Debian packages of what a release calls. npm is there: it has started this. */
export const releasePackages: readonly string[] = ['apt-utils', 'gnupg', 'squashfs-tools'];

const LIMIT_MS = 600_000;

/** @throws PreloaderError TOOL_MISSING, naming the Debian packages of all that is missing */
export function requireReleaseTools(): void {
  const missing = Object.entries(tools).flatMap(([tool, name]) => (findProgram(tool) === undefined ? [name] : []));
  if (missing.length > 0)
    throw new PreloaderError(
      'TOOL_MISSING',
      `expected what a release is made with, found no ${missing.join(', ')}: install it, on Debian with \`apt-get install --no-install-recommends ${missing.join(' ')}\``,
    );
}

/**
 * Runs a program to its end. @param cwd the folder that it runs in
 * @returns its output
 * @throws PreloaderError BUILD_FAILED with what it said
 */
export async function runTool(program: string, args: readonly string[], cwd = '/'): Promise<string> {
  const { failed, stdout, stderr, code } = await runProgram(program, args, {
    cwd,
    timeoutMs: LIMIT_MS,
    env: { LC_ALL: 'C' },
  });
  if (failed) throw new PreloaderError('BUILD_FAILED', `${program} ${args.join(' ')}: ${code ?? beginning(stderr)}`);
  return stdout;
}

/** What begins to fail tells why; of a full disk, tar tells again for each file. */
function beginning(text: string): string {
  const [first = '', second = '', ...more] = text.trim().split('\n');
  return `${first} ${second}${more.length === 0 ? '' : ` (and ${more.length} more lines)`}`.trim();
}
