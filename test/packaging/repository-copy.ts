import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, globSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { type TempTree, tempTree } from '../support/temp-tree.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** A copy of what the package is made of: it neither sees later changes nor touches the repository's own `dist`. */
export async function copyOf(repository: string): Promise<TempTree> {
  const copy = await tempTree();
  for (const name of ['agent', 'units', 'package.json', 'LICENSE', 'README.md'].filter((name) =>
    existsSync(path.join(repository, name)),
  )) {
    cpSync(path.join(repository, name), path.join(copy.path, name), { recursive: true });
  }
  for (const name of globSync('test/**/{README.md,boot-time.svg}', { cwd: repository }))
    cpSync(path.join(repository, name), path.join(copy.path, name));
  // No symlink: bundlers name modules by their real path.
  mkdirSync(path.join(copy.path, 'node_modules'));
  execFileSync('mount', ['--bind', path.join(root, 'node_modules'), path.join(copy.path, 'node_modules')]);
  return copy;
}
