import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cached } from './cache.ts';

const root = path.resolve(import.meta.dirname, '../..');
/**
 * The sources of 0.1.0, of the commit whose time its changelog has. They are here because a clone may be a shallow one.
 */
const sources = path.join(import.meta.dirname, 'docker-preloader-0.1.0.tar.xz');

/**
 * A folder with the .deb of 0.1.0, made by its own `npm run package`, on first use. Its npm packages are those of this
 * repository, which it had in the same versions.
 * @returns the folder, which has nothing else
 */
export async function earlierPackage(): Promise<string> {
  const recipe = createHash('sha256');
  for (const file of [sources, path.join(root, 'package-lock.json')]) recipe.update(readFileSync(file));
  return cached(`docker-preloader-0.1.0-${recipe.digest('hex').slice(0, 12)}`, async (folder) => {
    const tree = `${folder}.sources`;
    try {
      await rm(tree, { recursive: true, force: true });
      await mkdir(tree);
      await execa('tar', ['--extract', '--xz', `--file=${sources}`, `--directory=${tree}`]);
      await symlink(path.join(root, 'node_modules'), path.join(tree, 'node_modules'));
      await execa(process.execPath, ['agent/packaging/package.ts'], {
        cwd: tree,
        env: { SOURCE_DATE_EPOCH: '1795558520' },
      });
      const [deb] = globSync('dist/*.deb', { cwd: tree });
      if (deb === undefined) throw new Error('Expected 0.1.0 to make its .deb, found none');
      await copyFile(path.join(tree, deb), path.join(folder, path.basename(deb)));
    } finally {
      await rm(tree, { recursive: true, force: true });
    }
  });
}
