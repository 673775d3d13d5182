import path from 'node:path';
import { parseArgs } from 'node:util';
import { PreloaderError } from '../system/errors.ts';

/** What a package can be made for, and all that differs by it. */
export interface Architecture {
  /** As Debian and Docker call it. */
  readonly name: string;
  /** As Node calls it (`process.arch`). */
  readonly nodeName: string;
  /** As systemd calls it (os-release(5), ARCHITECTURE). */
  readonly systemdName: string;
  /** What the names of GNU's tools for it begin with, where another architecture builds. */
  readonly gnuName: string;
  /** The npm package that has Bun for it. */
  readonly bunPackage: string;
  /** What npm has of that package, in the version of package.json (Subresource Integrity, as in package-lock.json). */
  readonly bunIntegrity: string;
  /** As `bun build --target` calls it. */
  readonly bunTarget: string;
  /** Of the file header (elf(5), e_machine). */
  readonly elfMachine: number;
  /** The largest pages that Linux has there. No two segments of an executable may be in one. */
  readonly largestPageBytes: number;
  /** With which gcc lets a program jump only to where it may. */
  readonly jumpProtection: string;
  /** Whether agent/tiny/first-reads.ts is of Bun for it: pages are those of one binary. */
  readonly hasFirstReads: boolean;
}

/** All that packages are made for. */
export const architectures: readonly Architecture[] = [
  {
    name: 'amd64',
    nodeName: 'x64',
    systemdName: 'x86-64',
    gnuName: 'x86_64-linux-gnu',
    // It also runs on processors without AVX2, which QEMU's default CPU model does not have.
    bunPackage: '@oven/bun-linux-x64-baseline',
    bunIntegrity: 'sha512-s8yMwYcFnnrA178gji0gZbkE2WVDej/Ti1x770oPfihxyRxSMNhGhiAQNXV53aDeraZxksdvKV/RAdQBCd0qPA==',
    bunTarget: 'bun-linux-x64-baseline',
    elfMachine: 62,
    largestPageBytes: 4096,
    jumpProtection: '-fcf-protection',
    hasFirstReads: true,
  },
  {
    name: 'arm64',
    nodeName: 'arm64',
    systemdName: 'arm64',
    gnuName: 'aarch64-linux-gnu',
    bunPackage: '@oven/bun-linux-aarch64',
    bunIntegrity: 'sha512-4BXmsSKnjOrlGWqZV4x/oWa7AVoR+B6lCXddMzOAXBIm3t50eslg9wb66gmtW1AamEQ1l1CDvmmruysEhqOWMg==',
    bunTarget: 'bun-linux-arm64',
    elfMachine: 183,
    largestPageBytes: 65_536,
    jumpProtection: '-mbranch-protection=standard',
    hasFirstReads: false,
  },
];

/** That of this machine. @throws PreloaderError BUILD_FAILED where nothing can be made for it */
export function ownArchitecture(): Architecture {
  return find(({ nodeName }) => nodeName === process.arch, process.arch);
}

/**
 * That of `--arch NAME`, or else this machine's.
 * @param words a command line
 * @throws PreloaderError BUILD_FAILED for other words, and where nothing can be made for it
 */
export function chosenArchitecture(words: readonly string[]): Architecture {
  const { arch } = optionsOf(words);
  return arch === undefined ? ownArchitecture() : architectureOf(arch);
}

/** @param name Debian's, such as `arm64` @throws PreloaderError BUILD_FAILED where nothing can be made for it */
export function architectureOf(name: string): Architecture {
  return find((architecture) => architecture.name === name, name);
}

function optionsOf(words: readonly string[]): { readonly arch?: string } {
  try {
    return parseArgs({ args: [...words], options: { arch: { type: 'string' } } }).values;
  } catch {
    throw new PreloaderError('BUILD_FAILED', `expected nothing or --arch NAME, found '${words.join(' ')}'`);
  }
}

function find(is: (architecture: Architecture) => boolean, found: string): Architecture {
  const architecture = architectures.find(is);
  if (architecture !== undefined) return architecture;
  const names = architectures.map(({ name }) => name).join(', ');
  throw new PreloaderError('BUILD_FAILED', `expected an architecture (${names}), found '${found}'`);
}

/** Where what is built for an architecture goes, relative to the repository. */
export function distFolder(architecture: Architecture): string {
  return architecture === ownArchitecture() ? 'dist' : path.join('dist', architecture.name);
}
