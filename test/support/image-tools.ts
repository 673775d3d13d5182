import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { type DebianSuite, fetchDebianPackage } from './debian-packages.ts';

const libraries = [
  'libgpgme11',
  'libassuan0',
  'libgpg-error0',
  'libdevmapper1.02.1',
  'libseccomp2',
  'libsubid4',
  'libyajl2',
  'libglib2.0-0',
];

export interface ImageTools {
  /** With which the agent finds skopeo, and what all of them find their policy and credentials by. */
  readonly env: Readonly<Record<'HOME' | 'PATH', string>>;
  /** Runs one to its end. @param input its standard input */
  run(program: 'skopeo' | 'umoci' | 'buildah' | 'podman', args: readonly string[], input?: string): Promise<string>;
}

/**
 * Debian's skopeo, umoci, buildah and podman, without installing them.
 * @param folder gets their home and a folder for PATH
 */
export async function imageTools(folder: string): Promise<ImageTools> {
  const packages = await fetchDebianPackage('bookworm', [
    'skopeo',
    'umoci',
    'buildah',
    'podman',
    'conmon',
    'crun',
    ...libraries,
  ]);
  const home = path.join(folder, 'home');
  const bin = path.join(folder, 'bin');
  mkdirSync(path.join(home, '.config/containers'), { recursive: true });
  writeFileSync(path.join(home, '.config/containers/policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
  mkdirSync(bin);
  // podman looks for these even where it only loads and pushes.
  writeFileSync(
    path.join(home, 'containers.conf'),
    `[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "crun"\ntmp_dir = "${path.join(folder, 'libpod')}"\n` +
      `conmon_path = ["${packages}/usr/bin/conmon"]\n[engine.runtimes]\ncrun = ["${packages}/usr/bin/crun"]\n`,
  );
  const lib = ['usr/lib', 'lib'].map((one) => path.join(packages, one, 'x86_64-linux-gnu')).join(':');
  for (const program of ['skopeo', 'umoci', 'buildah', 'podman']) {
    const script = `#!/bin/sh\nexport LD_LIBRARY_PATH='${lib}' CONTAINERS_CONF='${home}/containers.conf'\nexec '${path.join(packages, 'usr/bin', program)}' "$@"\n`;
    writeFileSync(path.join(bin, program), script);
    chmodSync(path.join(bin, program), 0o755);
  }
  const env = { HOME: home, PATH: `${bin}:${process.env['PATH'] ?? ''}` };
  return {
    env,
    run: async (program, args, input = '') =>
      (await execa(path.join(bin, program), args, { env, cwd: folder, input })).stdout,
  };
}

/** What skopeo of a suite is linked with, and what goes by another name there. */
const newerLibraries = {
  trixie: ['libgpgme11t64'],
  forky: ['libgpgme45'],
} as const satisfies Partial<Record<DebianSuite, readonly string[]>>;
const commonLibraries =
  'libassuan9 libgpg-error0 libsqlite3-0 libc6 libdevmapper1.02.1 libselinux1 libudev1 libpcre2-8-0 libcap2 zlib1g';

/** skopeo of a later Debian, with the libraries that it is linked with. @returns where it is unpacked */
export function skopeoTree(suite: keyof typeof newerLibraries): Promise<string> {
  return fetchDebianPackage(suite, ['skopeo', ...commonLibraries.split(' '), ...newerLibraries[suite]]);
}

/**
 * skopeo of a later Debian, with the C library of that.
 * @param folder gets a folder for PATH
 * @returns that folder
 */
export async function newerSkopeo(folder: string, suite: keyof typeof newerLibraries): Promise<string> {
  const tree = await skopeoTree(suite);
  const bin = path.join(folder, `bin-${suite}`);
  mkdirSync(bin);
  const lib = path.join(tree, 'usr/lib/x86_64-linux-gnu');
  const script = `#!/bin/sh\nexec '${lib}/ld-linux-x86-64.so.2' --library-path '${lib}' '${tree}/usr/bin/skopeo' "$@"\n`;
  writeFileSync(path.join(bin, 'skopeo'), script);
  chmodSync(path.join(bin, 'skopeo'), 0o755);
  return bin;
}
