import { globSync, statSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { buildPackages } from '../../agent/packaging/small/build-tools.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { announce, output, working } from './transcript.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** What is installed where it is missing: the commands that the demo calls. */
export const hostPackages = ['e2fsprogs', 'socat', 'util-linux', 'mount', ...buildPackages];
const vmPackages = [
  'e2fsprogs',
  'util-linux',
  'mount',
  'qemu-system-x86',
  'qemu-utils',
  'mmdebstrap',
  'debian-archive-keyring',
  ...buildPackages,
];

/**
 * Looks whether this machine can run the demo, installs Debian packages that are missing, and builds the agent.
 * @param options.install false: installs nothing, and names what is missing
 * @param options.vm a virtual machine needs other packages, and the agent as a .deb
 * @throws Error of one line: what was expected, what was found, what to do
 */
export async function prepare(options: { readonly install: boolean; readonly vm: boolean }): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      `expected Linux on x86-64, found ${process.platform} on ${process.arch}: run it in a virtual machine with Debian 12`,
    );
  }
  if (process.getuid?.() !== 0)
    throw new Error('expected root, for mounts, loop devices and a dockerd of its own: run `sudo npm start`');
  await working('installing', () =>
    ensureDebianPackages(options.vm ? vmPackages : hostPackages, { install: options.install }),
  );
  await build(options.vm ? 'package' : 'build');
}

/** Builds what is missing or older than its sources, unless another agent is to be tried. */
async function build(script: 'build' | 'package'): Promise<void> {
  const result =
    script === 'build'
      ? 'dist/bin/docker-preloader'
      : (globSync('dist/docker-preloader_*_amd64.deb', { cwd: root })[0] ?? 'dist/docker-preloader.deb');
  if (script === 'build' && process.env['DOCKER_PRELOADER_UNDER_TEST'] !== undefined) return;
  const builtMs = modifiedMs(result);
  const sources = [...globSync('{agent,units}/**/*', { cwd: root }), 'package.json', 'package-lock.json'];
  if (sources.every((source) => modifiedMs(source) <= builtMs)) return;
  announce(`npm run ${script}`);
  const { exitCode, all } = await working(`building ${path.basename(result)}`, () =>
    execa(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        script === 'build' ? 'agent/packaging/build-program.ts' : 'agent/packaging/build-package.ts',
      ],
      { cwd: root, all: true, reject: false, stdin: 'ignore' },
    ),
  );
  output(all);
  if (exitCode !== 0)
    throw new Error(`\`npm run ${script}\` failed with exit status ${String(exitCode)}: correct what it says above`);
}

/** Folders do not count: theirs change with whatever is made in them. */
function modifiedMs(name: string): number {
  const stat = statSync(path.join(root, name), { throwIfNoEntry: false });
  return stat?.isFile() === true ? stat.mtimeMs : 0;
}
