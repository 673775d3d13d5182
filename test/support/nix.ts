import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { fetchWithDependencies } from './debian-packages.ts';
import { tempTree } from './temp-tree.ts';

/** Debian's Nix with a store of its own, which is gone after the run. It builds in a sandbox, and has no network. */
export interface Nix {
  /** Where `/nix/store`, as Nix calls it, really is. */
  readonly store: string;
  /** The value of an expression, as JSON has it. @throws Error with what Nix says */
  evaluate(expression: string): Promise<unknown>;
  /** Builds what an expression evaluates to. @returns its paths, as Nix calls them */
  build(expression: string, ...options: readonly string[]): Promise<readonly string[]>;
  /** Some paths, and all that they need. */
  closure(paths: readonly string[]): Promise<readonly string[]>;
  /** Runs one of its programs. @returns what that prints */
  run(program: string, args: readonly string[]): Promise<string>;
}

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

/**
 * Nix of Debian 13, without installing it.
 * @param sandbox what a builder sees beside the store: files and folders of this machine by their paths there
 */
export async function makeNix(sandbox: Readonly<Record<string, string>>): Promise<Nix> {
  const tree = await fetchWithDependencies('trixie', ['nix-bin']);
  const { path: root } = await tempTree('dpl-nix');
  const [conf, home] = ['conf', 'home'].map((name) => path.join(root, name)) as [string, string];
  for (const folder of [conf, home]) await mkdir(folder);
  await writeFile(
    path.join(conf, 'nix.conf'),
    [
      `store = ${root}`,
      'sandbox = true',
      'sandbox-fallback = false',
      `sandbox-paths = ${Object.entries(sandbox)
        .map(([inside, outside]) => `${inside}=${outside}`)
        .join(' ')}`,
      // Whoever runs this builds, instead of users who are there for it.
      'build-users-group =',
      'substituters =',
      'experimental-features = nix-command flakes',
      '',
    ].join('\n'),
  );
  const libraries = path.join(tree, LIBRARIES);
  const run = async (program: string, args: readonly string[]): Promise<string> => {
    const { failed, stdout, stderr } = await execa(
      path.join(libraries, 'ld-linux-x86-64.so.2'),
      ['--argv0', program, '--library-path', libraries, path.join(tree, 'usr/bin', program), ...args],
      {
        reject: false,
        stdin: 'ignore',
        env: { HOME: home, NIX_CONF_DIR: conf, LC_ALL: 'C.UTF-8' },
        timeout: 120_000,
      },
    );
    if (failed) throw new Error(`${program}: ${stderr}`);
    return stdout;
  };
  const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');
  return {
    store: path.join(root, 'nix/store'),
    run,
    evaluate: async (expression) =>
      JSON.parse(await run('nix-instantiate', ['--eval', '--strict', '--json', '--expr', expression])),
    build: async (expression, ...options) =>
      // No other machine is asked: Nix would start itself for that, and looks in vain where Debian would have it.
      lines(await run('nix-build', ['--option', 'build-hook', '', '--no-out-link', ...options, '--expr', expression])),
    closure: async (paths) => lines(await run('nix-store', ['--query', '--requisites', ...paths])),
  };
}
