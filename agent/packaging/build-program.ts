import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { chosenArchitecture, distFolder, ownArchitecture } from './architecture.ts';
import { buildExecutable } from './program/executable.ts';
import { buildModule, bundledPackages } from './program/module.ts';
import { buildOrTell, requireBuildTools } from './small/build-tools.ts';
import { buildSmallExecutable } from './small/small-executable.ts';

/** What is built, in the folder for it. The executables lie to each other as in the package. */
export const built = {
  /** What a boot runs, and what becomes the other one for all else. */
  small: 'bin/docker-preloader',
  /** All of the program, with a runtime for it. */
  whole: 'lib/docker-preloader/docker-preloader',
  /** What makes disks, for a build machine's own Node 24 or later. */
  module: 'docker-preloader.mjs',
} as const;

/** What of others is in what was built. */
export interface Contents {
  /** Names of npm packages. */
  readonly bundledPackages: readonly string[];
  /** The licence of the small engine, as its sources have it. */
  readonly engineLicence: string;
}

/**
 * `npm run build`: makes all of these.
 * @param root the repository
 * @param output the folder that gets them; made if it is missing
 * @param architecture what the executables are for; the module is for all
 * @throws PreloaderError TOOL_MISSING before anything is made
 */
export async function build(root: string, output: string, architecture = ownArchitecture()): Promise<Contents> {
  requireBuildTools(architecture);
  const at = (name: keyof typeof built): string => path.join(output, built[name]);
  for (const folder of Object.values(built).map((file) => path.dirname(path.join(output, file))))
    mkdirSync(folder, { recursive: true });
  await buildModule(root, at('module'));
  await buildExecutable(root, at('whole'), architecture);
  const { licence } = await buildSmallExecutable(root, at('small'), at('whole'), architecture);
  return { bundledPackages: await bundledPackages(root), engineLicence: licence };
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  const output = await buildOrTell(async () => {
    const architecture = chosenArchitecture(process.argv.slice(2));
    await build(root, path.join(root, distFolder(architecture)), architecture);
    return distFolder(architecture);
  });
  for (const name of Object.values(built)) {
    const { size } = statSync(path.join(root, output, name));
    console.log(`${output}/${name}: ${(size / 1e6).toFixed(1)} MB`);
  }
}
