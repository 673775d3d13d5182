import { build, type BuildResult } from 'esbuild';
import { lazyBuiltins } from './lazy-builtins.ts';
import { writeWhole } from './write-whole.ts';

/**
 * Runs before anything else. Otherwise, what an older Node lacks is found only when it is called, with an error that
 * nobody understands.
 */
const refuseOlderNode = [
  "if (Number(process.versions.node.split('.')[0]) < 24) {",
  'process.stderr.write(`docker-preloader: expected Node 24 or later, found ${process.versions.node}: run this file with a newer one, or the executable, which needs none\\n`);',
  'process.exit(1);',
  '}',
].join(' ');

const entries = { program: 'agent/main.ts', module: 'agent/packaging/program/module-main.ts' } as const;

/**
 * Bundles what makes disks and looks into them into one file for a build machine's own Node 24 or later, on any
 * architecture: it can be copied on its own.
 * @param root the repository
 * @param output the path of the .mjs file
 */
export async function buildModule(root: string, output: string): Promise<void> {
  const {
    outputFiles: [bundled],
  } = await bundle(root, entries.module);
  if (bundled === undefined) throw new Error('Expected one bundle from esbuild, got none');
  writeWhole(output, bundled.contents, 0o755);
}

/**
 * Names of the npm packages that a program consists of, sorted.
 * @param root the repository
 * @param of all of the program, or the module alone
 */
export async function bundledPackages(root: string, of: keyof typeof entries = 'program'): Promise<string[]> {
  const { metafile } = await bundle(root, entries[of]);
  const names = Object.keys(metafile.inputs)
    .map((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1])
    .filter((name) => name !== undefined);
  return [...new Set(names)].toSorted();
}

/** Lazy imports in the sources are also evaluated lazily in the bundle. */
async function bundle(root: string, entry: string): Promise<BuildResult<{ write: false; metafile: true }>> {
  return build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    outfile: 'docker-preloader.mjs',
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    mainFields: ['module', 'main'],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: `#!/usr/bin/env node\n${refuseOlderNode}` },
    plugins: [lazyBuiltins],
    logLevel: 'warning',
  });
}
