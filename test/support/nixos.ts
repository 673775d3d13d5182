import { globSync } from 'node:fs';
import { copyFile, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { type DebianSuite, fetchDebianPackage } from './debian-packages.ts';
import { dockerArchive } from './docker-archive.ts';
import { guestRoot } from './guest-root.ts';
import { busyboxRoot } from './images.ts';
import { makeNix, type Nix } from './nix.ts';
import { tempTree } from './temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** What of a machine of NixOS can be seen from outside; test/nixos/evaluate.nix makes it. */
export interface Machine {
  /** What its assertions say that do not hold. */
  readonly failed: readonly string[];
  readonly warnings: readonly string[];
  readonly programs: readonly string[];
  /** Packages with units. */
  readonly packages: readonly string[];
  /** Files in /etc. */
  readonly etc: Readonly<Record<string, string>>;
  readonly units: Readonly<Record<string, Unit>>;
  /** Arguments for QEMU; null where NixOS does not start it. */
  readonly qemu: readonly string[] | null;
  /** Images that kubelet imports. */
  readonly seeds: readonly string[];
  /** The disk of its images, as a derivation. */
  readonly disk: { readonly name: string; readonly builder: string; readonly args: readonly string[] } | null;
}

interface Unit {
  readonly wantedBy: readonly string[];
  readonly preStart: string;
  /** Sections that are added to what the package has. */
  readonly overrides: string;
}

export interface NixosPlace {
  readonly nix: Nix;
  /** The archive of an image. */
  archive(name: string): string;
  /**
   * An expression over `machine`, with all of test/nixos/evaluate.nix in scope.
   * @param configurations what is in the machine's modules
   */
  expression(configurations: readonly string[], value: string, options?: MachineOptions): string;
}

export interface MachineOptions {
  /** Whether NixOS starts the machine itself, in QEMU. */
  readonly withQemu?: boolean;
  /** Our module, as an expression. */
  readonly module?: string;
  /** The `lib` to use instead of the stand-in for it, as an expression. */
  readonly lib?: string;
}

/** What programs of Debian are linked with that the machine and its sandbox run. */
const LIBRARIES = 'ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 libgcc_s.so.1 libstdc++.so.6';

/**
 * Nix, and beside it what stands for nixpkgs: a shell with its tools, patchelf and glibc, all of the Debian that the
 * guest has.
 * @param images archives of these names, each of an image NAME:1 with its name in /name
 */
export async function nixosPlace(suite: DebianSuite, images: readonly string[]): Promise<NixosPlace> {
  const { path: folder } = await tempTree('dpl-nixos');
  const [bin, lib, archives] = ['tools/bin', 'glibc/lib', 'images'].map((name) => path.join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const one of [bin, lib, archives]) await mkdir(one, { recursive: true });
  const tools = await fetchDebianPackage(suite, ['busybox-static', 'patchelf']);
  const busybox = path.join(tools, suite === 'bookworm' ? 'bin/busybox' : 'usr/bin/busybox');
  await copyFile(busybox, path.join(bin, 'busybox'));
  for (const applet of (await execa(busybox, ['--list'])).stdout.split('\n'))
    if (applet !== 'busybox') await symlink('busybox', path.join(bin, applet));
  await copyFile(path.join(tools, 'usr/bin/patchelf'), path.join(bin, 'patchelf'));
  const guest = (await guestRoot(suite)).tree;
  for (const name of LIBRARIES.split(' '))
    await cp(path.join(guest, 'usr/lib/x86_64-linux-gnu', name), path.join(lib, name), { dereference: true });
  const base = await busyboxRoot();
  for (const name of images)
    await writeFile(
      path.join(archives, `${name}.tar`),
      await dockerArchive([{ tags: [`${name}:1`], layers: [base, [{ name: 'name', content: `${name}:1\n` }]] }]),
    );
  // Debian's loader has Debian's folders in it, as that of nixpkgs has its own.
  const nix = await makeNix({ '/lib64': lib, '/lib/x86_64-linux-gnu': lib });
  return {
    nix,
    archive: (name) => path.join(archives, `${name}.tar`),
    expression: (configurations, value, options = {}) => {
      const { withQemu = true, module = path.join(root, 'units/nixos/module.nix'), lib } = options;
      const given = lib === undefined ? '' : `lib = ${lib};`;
      return `with import ${root}/test/nixos/evaluate.nix { place = ${folder}; ${given} };
        let machine = evaluate {
          module = ${module};
          withQemu = ${withQemu};
          configurations = [ ${configurations.map((text) => `({ config, lib, pkgs, ... }: { ${text} })`).join(' ')} ];
        }; in ${value}`;
    },
  };
}

/** A release as a user has it. @returns what is its /usr */
export async function unpackedRelease(): Promise<string> {
  const [tarball, ...more] = globSync('dist/docker-preloader_*_amd64.tar.gz', { cwd: root });
  if (tarball === undefined || more.length > 0)
    throw new Error(`Expected one dist/docker-preloader_*_amd64.tar.gz: run \`npm run package\` before the tests`);
  const { path: folder } = await tempTree('dpl-release');
  await execa('tar', ['-xzf', path.join(root, tarball), '-C', folder]);
  return path.join(folder, 'usr');
}
