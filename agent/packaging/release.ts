import { chmodSync, globSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { PreloaderError } from '../system/errors.ts';
import { tellLine } from '../system/stderr.ts';
import { architectures } from './architecture.ts';
import { makePackages, sourceDate } from './build-package.ts';
import { assembleRelease, type ReleaseOptions } from './release/assemble.ts';
import { earlierPackages } from './release/apt-repository.ts';
import { requireReleaseTools } from './release/release-tool.ts';
import { requireKey } from './release/signature.ts';
import { requireBuildTools } from './small/build-tools.ts';

/**
 * `npm run release`: makes the packages, and of them all that a release is, in `dist/release`. The same sources and the
 * same SOURCE_DATE_EPOCH give the same bytes, but for the signatures.
 * @param root the repository
 * @returns the folder, which is replaced as a whole
 */
async function makeRelease(root: string, options: Pick<ReleaseOptions, 'key' | 'earlier'>): Promise<string> {
  for (const architecture of architectures) await makePackages(root, architecture);
  mkdirSync(path.join(root, 'dist'), { recursive: true });
  const folder = mkdtempSync(path.join(root, 'dist/.release-'));
  try {
    await assembleRelease(root, folder, { ...options, architectures, date: sourceDate(root) });
    const release = path.join(root, 'dist/release');
    rmSync(release, { recursive: true, force: true });
    chmodSync(folder, 0o755);
    renameSync(folder, release);
    return release;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
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
  try {
    const { key, earlier } = chosenOptions(process.argv.slice(2));
    requireReleaseTools();
    for (const architecture of architectures) requireBuildTools(architecture);
    // What a long build is not to end with.
    const signer = await requireKey(key);
    if (earlier !== undefined) earlierPackages(earlier);
    const folder = await makeRelease(root, { key: signer, earlier });
    for (const name of globSync('**', { cwd: folder }).toSorted()) {
      const file = statSync(path.join(folder, name));
      if (file.isFile()) console.log(`${path.relative(root, folder)}/${name}: ${(file.size / 1e6).toFixed(3)} MB`);
    }
  } catch (error) {
    if (!(error instanceof PreloaderError)) throw error;
    tellLine(`release: ${error.message}`);
    process.exit(1);
  }
}
