import { createHash } from 'node:crypto';
import { cp, lstat, mkdir, readdir, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cacheDir } from '../../agent/packaging/small/cache-folder.ts';
import { cached } from './cache.ts';
import { fetchDebianPackage, type DebianSuite } from './debian-packages.ts';

/** The dockerds that the tests run on: those of Debian 12, of Debian 13, and of the one after. */
export const dockerdVersions = ['20.10', '26.1', '28.5'] as const;
export type DockerdVersion = (typeof dockerdVersions)[number];

/** Where a dockerd and what belongs to it was unpacked. */
export interface DockerdTree {
  readonly dockerd: string;
  readonly cli: string;
  /** For PATH: dockerd looks there for containerd, its shim, runc and docker-init. */
  readonly bin: string;
  /** For LD_LIBRARY_PATH, where this machine may lack a library. */
  readonly lib: string | undefined;
  /** A DOCKER_CONFIG that holds buildx, where BuildKit takes it. */
  readonly cliConfig: string;
}

interface Source {
  readonly suite: DebianSuite;
  readonly packages: readonly string[];
  /** What runc is linked to, where that is newer than this machine's: it gets libraries of its own suite. */
  readonly newerLibc: boolean;
}

const sources: Readonly<Record<DockerdVersion, Source>> = {
  '20.10': {
    suite: 'bookworm',
    packages: ['docker.io', 'containerd', 'runc', 'libdevmapper1.02.1', 'libseccomp2'],
    newerLibc: false,
  },
  '26.1': {
    suite: 'trixie',
    packages: ['docker.io', 'docker-cli', 'docker-buildx', 'containerd', 'runc', 'libc6', 'libseccomp2'],
    newerLibc: true,
  },
  '28.5': {
    suite: 'forky',
    packages: ['docker.io', 'docker-cli', 'docker-buildx', 'containerd', 'runc', 'libc6', 'libseccomp2'],
    newerLibc: true,
  },
};

/**
 * Unpacks a dockerd beside the system, from the Debian suite that has it, with its containerd, runc, CLI and buildx.
 * Nothing is installed; the second call takes what the first one left in the cache.
 */
export async function dockerdTree(version: DockerdVersion): Promise<DockerdTree> {
  const source = sources[version];
  const packages = await fetchDebianPackage(source.suite, source.packages);
  // The interpreter is an absolute path in runc, so a cache that was moved gets another key. The number is this file's
  // layout.
  const place = createHash('sha256').update(packages).digest('hex').slice(0, 8);
  const key = `dockerd-${version}-2-${place}`;
  const tree = await cached(key, (folder) => arrange(folder, path.join(cacheDir(), key), packages, version));
  return {
    dockerd: path.join(tree, 'bin/dockerd'),
    cli: path.join(tree, 'bin/docker'),
    bin: path.join(tree, 'bin'),
    lib: source.newerLibc ? undefined : path.join(tree, 'lib'),
    cliConfig: path.join(tree, 'cli'),
  };
}

/** Lays out `bin`, `lib` and `cli` in `folder`, which will be `place` once it is whole. */
async function arrange(folder: string, place: string, packages: string, version: DockerdVersion): Promise<void> {
  const source = sources[version];
  for (const sub of ['bin', 'lib', 'cli/cli-plugins']) await mkdir(path.join(folder, sub), { recursive: true });
  for (const from of ['usr/bin', 'usr/sbin']) {
    for (const name of await readdir(path.join(packages, from))) {
      if ((await lstat(path.join(packages, from, name))).isDirectory()) continue;
      await symlink(path.join(packages, from, name), path.join(folder, 'bin', name)).catch(ignoreExists);
    }
  }
  const loader = await linkLibraries(packages, path.join(folder, 'lib'));
  const said = await execa(path.join(folder, 'bin/dockerd'), ['--version'], {
    env: { LD_LIBRARY_PATH: source.newerLibc ? '' : path.join(folder, 'lib') },
  });
  if (!said.stdout.startsWith(`Docker version ${version}.`)) {
    throw new Error(
      `Expected dockerd ${version} in Debian ${source.suite}, found \`${said.stdout}\`: name the suite that has ${version} now`,
    );
  }
  if (source.newerLibc) {
    await symlink(
      path.join(packages, 'usr/libexec/docker/cli-plugins/docker-buildx'),
      path.join(folder, 'cli/cli-plugins/docker-buildx'),
    );
    if (loader === undefined) throw new Error(`Expected ld-linux-x86-64.so.2 among the packages in ${packages}`);
  }
  // runc starts itself again as /proc/self/exe, with an empty environment: neither a wrapper that calls the loader nor
  // LD_LIBRARY_PATH gets it its libraries. DT_RPATH and not RUNPATH: it also holds for what libraries need themselves.
  const runc = path.join(folder, 'bin/runc');
  await rm(runc);
  await cp(path.join(packages, 'usr/sbin/runc'), runc);
  const patchelf = path.join(await fetchDebianPackage('bookworm', ['patchelf']), 'usr/bin/patchelf');
  const interpreter = loader === undefined ? [] : ['--set-interpreter', path.join(place, 'lib', loader)];
  await execa(patchelf, [...interpreter, '--force-rpath', '--set-rpath', path.join(place, 'lib'), runc]);
}

/** Links the packages' shared libraries into one folder; returns the loader's name, where one is among them. */
async function linkLibraries(packages: string, lib: string): Promise<string | undefined> {
  let loader: string | undefined;
  for (const from of ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu']) {
    for (const name of await readdir(path.join(packages, from)).catch((): string[] => [])) {
      if (!name.includes('.so')) continue;
      if (name.startsWith('ld-linux')) loader = name;
      await symlink(path.join(packages, from, name), path.join(lib, name)).catch(ignoreExists);
    }
  }
  return loader;
}

function ignoreExists(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}
