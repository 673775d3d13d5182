import { FORMAT_VERSION } from '../disk/manifest.ts';
import { VERSION } from '../version.ts';
import { process } from './process.ts';
import { goBeyond } from './whole-runtime.ts';

/** Name and version of the engine, from the build. */
declare const SMALL_ENGINE: string;

/** agent/commands/program.ts on the small engine. All but the version is left to the whole program. */
export async function runCommandLine(): Promise<number> {
  const [first, ...more] = process.argv.slice(2);
  if (more.length > 0 || (first !== '--version' && first !== '-V')) return goBeyond();
  process.stdout.write(`docker-preloader ${VERSION} (disk format ${FORMAT_VERSION}, ${SMALL_ENGINE})\n`);
  return 0;
}
