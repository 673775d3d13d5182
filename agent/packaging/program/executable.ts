import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { commandOutputSync } from '../../system/child-process.ts';
import { environment } from '../../system/environment.ts';
import { type Architecture, ownArchitecture } from '../architecture.ts';
import { bunOf } from './bun.ts';
import { writeSealedRuntime } from './sealed-runtime.ts';
import { makeStrippable } from './strippable.ts';

/**
 * Why each flag (start of a stand-in with our dependencies, mean of 40 runs on 2 cores): `--splitting` loads lazy
 * imports only when they are needed (38 ms without, 4.6 ms with it). `--bytecode` saves the parsing (a command that
 * checks its configuration: 19 ms without, 10 ms with it). Identifiers stay readable in stack traces, since shorter
 * ones save nothing. Source maps would name our files there, but then the first error object, even an ENOENT, reads
 * them, which takes 2 to 4 ms of each `apply`. `--compile-jit-policy` multiplies how often something has to be called
 * before it is compiled to machine code. On the way to READY, nothing is called often enough to make up for the
 * compilation, so this saves 45 of 172 ms of CPU time and 5 MB for a disk of 12 layers. `build` gets slower: 150,000
 * small files take 1.2 to 1.3 times as long. But disks are built once and boot often. A `.env` or bunfig.toml in the
 * current folder must not affect the program.
 */
const flags = [
  '--compile',
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  '--format=esm',
  '--splitting',
  '--bytecode',
  '--minify-syntax',
  '--minify-whitespace',
  '--compile-jit-policy=100',
  '--external=koffi',
];

/**
 * Compiles agent/main.ts and Bun into one executable for Linux with glibc 2.17 or later. The same sources give the same
 * bytes, in any folder. The file is replaced as a whole, even while an older one is running.
 * @param root the repository
 * @param output the executable's path
 * @throws an Error where Bun for the architecture cannot be had
 */
export async function buildExecutable(root: string, output: string, architecture: Architecture): Promise<void> {
  const compiler = await bunOf(root, ownArchitecture());
  const original = await bunOf(root, architecture);
  const temporary = mkdtempSync(path.join(path.dirname(output), '.build-'));
  try {
    const runtime = path.join(temporary, 'bun');
    writeSealedRuntime(original, runtime);
    const executable = path.join(temporary, path.basename(output));
    // The name of the entry point and the working directory get into the result. As relative paths, they are the same
    // everywhere. The target is what `process.arch` becomes.
    commandOutputSync(
      compiler,
      [
        'build',
        ...flags,
        `--target=${architecture.bunTarget}`,
        `--compile-executable-path=${runtime}`,
        `--outfile=${executable}`,
        './agent/main.ts',
      ],
      {
        cwd: root,
        env: { PATH: environment()['PATH'], HOME: temporary },
      },
    );
    makeStrippable(runtime, executable);
    renameSync(executable, output);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}
