import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as z from 'zod/mini';
import { commandOutputSync } from '../../system/child-process.ts';
import { type Architecture, ownArchitecture } from '../architecture.ts';
import { bunOf } from '../program/bun.ts';
import { bundledPackages } from '../program/module.ts';
import { compilerName } from '../small/build-tools.ts';
import type { Part } from './sbom.ts';

const BUN_LICENCES = 'https://bun.com/docs/project/license';

/** What Bun tells versions of (`process.versions`) without having it: what it is compatible with, or compiled by. */
const notInBun = new Set(['bun', 'node', 'v8', 'modules', 'napi', 'uv', 'openssl', 'unicode', 'zig', 'typescript']);

/**
 * What the small executable holds: the engine, and what the compiler links statically.
 * @param executable its content, which names the version of its engine
 * @throws Error where it does not
 */
export function partsOfSmall(root: string, executable: Buffer, architecture: Architecture): readonly Part[] {
  const version = /\(disk format [^()]*, quickjs ([\w.+~-]+)\)/.exec(executable.toString('latin1'))?.[1];
  if (version === undefined) throw new Error('Expected the small executable to name its engine, found no such text');
  const compiler = compilerName(architecture);
  return [
    { name: 'quickjs', version, purl: debianUrl('quickjs', version, 'source'), licence: 'MIT' },
    linkedLibrary(root, compiler, 'libc.a', 'glibc', 'LGPL-2.1-or-later'),
    linkedLibrary(root, compiler, 'libgcc.a', 'libgcc', 'GPL-3.0-or-later WITH GCC-exception-3.1'),
  ];
}

/** What the whole executable holds: Bun with all that is in it, and npm packages. */
export async function partsOfWhole(root: string, { bunPackage }: Architecture): Promise<readonly Part[]> {
  const versions = await versionsInBun(root);
  const { bun: version = '' } = versions;
  const parts = Object.entries(versions)
    .filter(([name]) => !notInBun.has(name))
    .map(([name, its]) => ({
      name,
      version: its,
      purl: `pkg:generic/${name}@${encodeURIComponent(its)}`,
      licencePage: BUN_LICENCES,
    }));
  const bun = {
    name: bunPackage,
    version,
    purl: npmUrl(bunPackage, version),
    licence: 'MIT',
    licencePage: BUN_LICENCES,
    parts,
  };
  return [bun, ...(await packagesOf(root, 'program'))];
}

/** What docker-preloader.mjs holds: npm packages. */
export function partsOfModule(root: string): Promise<readonly Part[]> {
  return packagesOf(root, 'module');
}

async function packagesOf(root: string, of: 'program' | 'module'): Promise<readonly Part[]> {
  return (await bundledPackages(root, of)).map((name) => {
    const { version, license } = describedIn(root, name);
    return { name, version, purl: npmUrl(name, version), licence: license };
  });
}

/** What the Bun of this machine tells. Those for others are of the same sources. */
async function versionsInBun(root: string): Promise<Readonly<Record<string, string>>> {
  const bun = await bunOf(root, ownArchitecture());
  const told: unknown = JSON.parse(commandOutputSync(bun, ['-p', 'JSON.stringify(process.versions)'], { cwd: '/' }));
  return z.record(z.string(), z.string()).parse(told);
}

/** A static library, by the Debian package that its file is of. @throws Error where it is of none */
function linkedLibrary(root: string, compiler: string, file: string, name: string, licence: string): Part {
  const output = (program: string, args: readonly string[]): string =>
    commandOutputSync(program, args, { cwd: root }).trim();
  const library = path.resolve(output(compiler, [`-print-file-name=${file}`]));
  const owner = output('dpkg-query', ['--search', library]).replace(/: \/.*$/s, '');
  const [binary = '', version = '', architecture = ''] = output('dpkg-query', [
    '--show',
    '--showformat=${Package} ${Version} ${Architecture}',
    owner,
  ]).split(' ');
  return { name, version, purl: debianUrl(binary, version, architecture), licence };
}

function describedIn(root: string, name: string): { readonly version: string; readonly license: string } {
  const described: unknown = JSON.parse(readFileSync(path.join(root, 'node_modules', name, 'package.json'), 'utf8'));
  return z.object({ version: z.string(), license: z.string() }).parse(described);
}

function npmUrl(name: string, version: string): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`;
}

function debianUrl(name: string, version: string, architecture: string): string {
  return `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
}
