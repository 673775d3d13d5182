import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { PreloaderError } from '../../system/errors.ts';
import { architectures } from '../architecture.ts';
import { runTool } from './release-tool.ts';

/** A package that an apt repository hands out. */
export interface ReleasedPackage {
  readonly file: string;
  /** By what it says of itself, whatever its file is called: apt takes two that have one name for the same. */
  readonly name: string;
}

const OURS = 'docker-preloader';

/**
 * Packages of earlier releases, which stay in the repository.
 * @param folder holds them
 * @throws PreloaderError BUILD_FAILED where none is there, and for what is none of ours, or not whole
 */
export async function earlierPackages(folder: string): Promise<readonly ReleasedPackage[]> {
  const found = globSync('*.deb', { cwd: folder }).toSorted();
  if (found.length === 0)
    throw new PreloaderError('BUILD_FAILED', `expected .deb files of earlier releases in ${folder}, found none`);
  const packages: ReleasedPackage[] = [];
  for (const name of found) packages.push(await releasedPackage(path.join(folder, name)));
  return withoutCopies(packages);
}

/** Reads what a .deb says of itself, and all of it. @throws PreloaderError BUILD_FAILED */
export async function releasedPackage(file: string): Promise<ReleasedPackage> {
  const show = ['--show', '--showformat=${Package} ${Version} ${Architecture}', file];
  // The second reads to the end, where a download that was cut off lacks something. apt-ftparchive leaves such a one
  // out.
  const [text] = await Promise.all([runTool('dpkg-deb', show), runTool('dpkg-deb', ['--contents', file])]).catch(
    (error: unknown) => {
      throw new PreloaderError('BUILD_FAILED', `expected a whole package, found a damaged one: ${file}`, {
        cause: error,
      });
    },
  );
  const [name = '', version = '', architecture = ''] = text.split(' ');
  if (name !== OURS) throw new PreloaderError('BUILD_FAILED', `expected a package '${OURS}', found '${name}': ${file}`);
  const names = architectures.map((known) => known.name);
  if (!names.includes(architecture))
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected a package for ${names.join(' or ')}, found one for '${architecture}': ${file}`,
    );
  return { file, name: `${name}_${version}_${architecture}.deb` };
}

/**
 * Each package once.
 * @throws PreloaderError BUILD_FAILED where two with one name have other bytes: whoever has one of them gets a wrong
 * hash
 */
export function withoutCopies(packages: readonly ReleasedPackage[]): readonly ReleasedPackage[] {
  const byName = new Map<string, ReleasedPackage>();
  for (const one of packages) {
    const known = byName.get(one.name);
    if (known === undefined) byName.set(one.name, one);
    else if (!readFileSync(known.file).equals(readFileSync(one.file)))
      throw new PreloaderError(
        'BUILD_FAILED',
        `expected one ${one.name}, found other bytes in ${known.file} than in ${one.file}: a version is released once, so raise it in package.json and in the changelog`,
      );
  }
  return [...byName.values()];
}
