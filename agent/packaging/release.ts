import { globSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { wallMs } from '../system/clock.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { tellLine } from '../system/stderr.ts';
import { VERSION } from '../version.ts';
import { architectures } from './architecture.ts';
import { makePackages } from './build-package.ts';
import { assembleRelease, type ReleaseOptions } from './release/assemble.ts';
import { earlierPackages } from './release/released-package.ts';
import { releaseFolder } from './release/release-folder.ts';
import { requireVersion } from './release/release-version.ts';
import { requireReleaseTools } from './release/release-tool.ts';
import { requireKey } from './release/signature.ts';
import { isTold, requireBuildTools } from './small/build-tools.ts';
import { releaseDate } from './source-date.ts';
import { fromWhereTyped } from './where-typed.ts';

/**
 * `npm run release`: makes the packages, and of them all that a release is, in `dist/release`. The same sources and the
 * same SOURCE_DATE_EPOCH give the same bytes, but for the signatures.
 * @param root the repository
 * @returns the folder, which is replaced as a whole
 */
async function makeRelease(root: string, options: Pick<ReleaseOptions, 'key' | 'earlier' | 'date'>): Promise<string> {
  const release = path.join(root, 'dist/release');
  await releaseFolder(release, async (folder) => {
    for (const architecture of architectures) await makePackages(root, architecture);
    await assembleRelease(root, folder, { ...options, architectures });
  });
  return release;
}

/** @throws PreloaderError BUILD_FAILED */
function chosenOptions(words: readonly string[]): Partial<Pick<ReleaseOptions, 'key' | 'earlier'>> {
  try {
    return parseArgs({ args: [...words], options: { key: { type: 'string' }, earlier: { type: 'string' } } }).values;
  } catch {
    throw new PreloaderError(
      'BUILD_FAILED',
      `expected --key KEY, and perhaps --earlier FOLDER, found '${words.join(' ')}'`,
    );
  }
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  // A web server reads it, whoever made it.
  process.umask(0o022);
  try {
    const { key, earlier: words } = chosenOptions(process.argv.slice(2));
    requireReleaseTools();
    for (const architecture of architectures) requireBuildTools(architecture);
    // What a long build is not to end with.
    requireVersion(root, VERSION);
    const date = releaseDate(root, wallMs());
    const signer = await requireKey(key);
    const earlier = words === undefined ? undefined : fromWhereTyped(words);
    if (earlier !== undefined) await earlierPackages(earlier);
    const folder = await makeRelease(root, { key: signer, earlier, date });
    for (const name of globSync('**', { cwd: folder }).toSorted()) {
      const file = statSync(path.join(folder, name));
      if (file.isFile()) console.log(`${path.relative(root, folder)}/${name}: ${(file.size / 1e6).toFixed(3)} MB`);
    }
  } catch (error) {
    if (!isTold(error)) throw error;
    tellLine(`release: ${messageOf(error)}`);
    process.exit(1);
  }
}
