import { build, type BuildOptions } from 'esbuild';
import { embeddedKoffi } from './embedded-koffi.ts';
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

/**
 * Bundles agent/main.ts into one file for a system's own Node 24 or later, on x86-64 with glibc: it can be copied on
 * its own. Lazy imports in the sources are also evaluated lazily in the bundle.
 * @param root the repository
 * @param output the path of the .mjs file
 * @returns names of the npm packages in it, sorted
 */
export async function buildModule(root: string, output: string): Promise<string[]> {
  const {
    outputFiles: [bundle],
    metafile,
  } = await build({
    ...bundleOptions(root),
    entryPoints: ['agent/main.ts'],
    outfile: output,
    write: false,
    metafile: true,
    format: 'esm',
    banner: { js: `#!/usr/bin/env node\n${refuseOlderNode}` },
  });
  if (bundle === undefined) throw new Error('Expected one bundle from esbuild, got none');
  writeWhole(output, bundle.contents, 0o755);
  return packageNames(Object.keys(metafile.inputs));
}

/** The options for bundling the sources for Node, for any entry point and module format. */
export function bundleOptions(root: string): BuildOptions {
  return {
    absWorkingDir: root,
    bundle: true,
    platform: 'node',
    target: 'node24',
    mainFields: ['module', 'main'],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    plugins: [embeddedKoffi(root), lazyBuiltins],
    logLevel: 'warning',
  };
}

/** The npm packages that the bundled files come from, including koffi's addon. */
function packageNames(files: readonly string[]): string[] {
  const names = files
    .map((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1])
    .filter((name) => name !== undefined);
  return [...new Set([...names, 'koffi'])].toSorted();
}
