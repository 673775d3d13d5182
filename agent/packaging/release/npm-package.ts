import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { built } from '../build-program.ts';
import { runTool } from './release-tool.ts';

/** What `npm pack` takes, by `files` of package.json and of itself, with their modes. */
const FILES = { LICENSE: 0o644, 'README.md': 0o644, 'package.json': 0o644, [`dist/${built.module}`]: 0o755 };

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
    for (const [name, mode] of Object.entries(FILES))
      writeFileSync(path.join(tree, name), readFileSync(path.join(root, name)), { mode });
    await runTool('npm', ['pack', '--silent', '--ignore-scripts', `--pack-destination=${folder}`], tree);
  } finally {
    rmSync(tree, { recursive: true });
  }
}
