import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { buildExecutable } from './program/executable.ts';
import { buildModule } from './program/module.ts';

/**
 * `npm run build`: makes `docker-preloader` (one executable, needs no Node) and `docker-preloader.mjs` (for Node 24).
 * @param root the repository
 * @param output the folder that gets both files; made if it is missing
 * @returns names of the npm packages that went into them
 */
export async function build(root: string, output: string): Promise<{ bundledPackages: string[] }> {
  mkdirSync(output, { recursive: true });
  const bundledPackages = await buildModule(root, path.join(output, 'docker-preloader.mjs'));
  buildExecutable(root, path.join(output, 'docker-preloader'));
  return { bundledPackages };
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  await build(root, path.join(root, 'dist'));
  for (const name of ['docker-preloader', 'docker-preloader.mjs']) {
    const { size } = statSync(path.join(root, 'dist', name));
    console.log(`dist/${name}: ${(size / 1e6).toFixed(1)} MB`);
  }
}
