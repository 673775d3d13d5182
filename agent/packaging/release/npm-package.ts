import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { built } from '../build-program.ts';
import { runTool } from './release-tool.ts';

/** What `npm pack` takes, by `files` of package.json and of itself. */
const FILES = ['LICENSE', 'README.md', 'package.json', `dist/${built.module}`];

/**
 * Makes the npm package of a module that was built. npm writes down who may read a file, so it is given copies: a clone
 * that only its owner reads makes the same bytes.
 * @param root the repository
 * @param folder is there, and gets it
 * @throws PreloaderError BUILD_FAILED
 */
export async function writeNpmPackage(root: string, folder: string): Promise<void> {
  const tree = mkdtempSync(path.join(folder, '.npm-'));
  try {
    mkdirSync(path.join(tree, 'dist'));
    for (const name of FILES)
      writeFileSync(path.join(tree, name), readFileSync(path.join(root, name)), { mode: 0o644 });
    await runTool('npm', ['pack', '--silent', '--ignore-scripts', `--pack-destination=${folder}`], tree);
  } finally {
    rmSync(tree, { recursive: true });
  }
}
