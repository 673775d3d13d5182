import { globSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { build } from '../../agent/packaging/build-program.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { tempTree } from '../support/temp-tree.ts';
import { makeRuntimes, nodeRuntimes, runtimeProgram } from './runtimes.ts';

const root = path.resolve(import.meta.dirname, '../..');

/**
 * Runs test files once with the agent on each runtime, one file after another: those are meant that start the agent as a program.
 * @param patterns of test files, relative to the repository
 * @returns for each runtime and file how many tests passed, and the names of those that did not
 * @throws Error where a file did not get as far as counting its tests
 */
export async function testRuntimes(patterns: readonly string[]): Promise<Readonly<Record<string, string>>[]> {
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).toSorted();
  if (files.length === 0) throw new Error(`expected test files, found none at ${patterns.join(', ')}`);
  const dist = path.join(root, 'dist');
  await build(root, dist);
  const tree = await tempTree('dpl-runtimes');
  const rows: Readonly<Record<string, string>>[] = [];
  try {
    const folder = path.join(tree.path, 'programs');
    await makeRuntimes(root, folder);
    const runtimes = [
      { name: 'agent', program: path.join(dist, 'docker-preloader'), env: {} },
      // The module finds Node by its first line.
      ...nodeRuntimes.map((name) => {
        const { command, env } = runtimeProgram(name, folder, []);
        return { name, program: command.at(-1), env };
      }),
    ];
    for (const file of files) {
      for (const { name, program, env } of runtimes) {
        const { stdout } = await execa(
          process.execPath,
          ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=tap', file],
          { cwd: root, reject: false, env: { ...env, DOCKER_PRELOADER_UNDER_TEST: program }, maxBuffer: 2 ** 28 },
        );
        const [passed, failed] = ['pass', 'fail'].map(
          (word) => new RegExp(`^# ${word} (\\d+)$`, 'm').exec(stdout)?.[1],
        );
        if (passed === undefined || failed === undefined)
          throw new Error(`${file} with ${name}: expected a count of its tests, found ${stdout.slice(-500)}`);
        const row = {
          file,
          runtime: name,
          passed,
          failed,
          which: [...stdout.matchAll(/^ *not ok \d+ - (.*)$/gm)].map((match) => match[1]).join('; '),
        };
        console.error(
          `${file}: ${name}: ${passed} passed, ${failed} failed${row.which === '' ? '' : `: ${row.which}`}`,
        );
        rows.push(row);
      }
    }
    return rows;
  } finally {
    await cleanUpAll();
  }
}
