import { runProgram } from '../../system/child-process.ts';
import { tellLine } from '../../system/stderr.ts';
import { ENGINE_VARIABLE, engineSources, TESTED_ENGINE, type EngineSource } from './engine-source.ts';

/**
 * What asks the engine and Node the same questions, relative to the repository. It takes the engine that the variable
 * names.
 */
const AGREEMENT_TESTS = ['same-as-node', 'engine-types', 'ed25519', 'grpc'].map((name) => `test/tiny/${name}.test.ts`);
const LIMIT_MS = 1_200_000;
const TOLD_FAILURES = 3;

/**
 * The engine that the small executable is made of: the version that was tested, and where it is not to be had any more,
 * the next one that answers as Node does. What is taken in its place is told, and --version names it.
 * @param root the repository
 * @param sources in the order in which they are tried
 * @throws Error where none agrees
 */
export async function agreedEngine(
  root: string,
  sources: AsyncIterable<EngineSource> = engineSources(),
  tell: (line: string) => void = tellLine,
): Promise<EngineSource> {
  const refused: string[] = [];
  for await (const source of sources) {
    const { version } = source;
    if (version === TESTED_ENGINE) return source;
    tell(`build: quickjs ${version} in place of ${TESTED_ENGINE}: looking whether it answers as Node does`);
    const failures = await failedTests(root, version);
    if (failures.length === 0) {
      tell(`build: quickjs ${version} answers as Node does, and is taken; run all tests on what is built`);
      return source;
    }
    tell(`build: quickjs ${version} is not taken: it does not pass ${failures.join(', ')}`);
    refused.push(version);
  }
  throw new Error(
    `Expected an engine that answers as Node does, found that ${refused.join(' and ')} of the Debian package quickjs do not: see why by \`${ENGINE_VARIABLE}=${refused[0] ?? 'VERSION'} sh test/bootstrap.sh --test ${AGREEMENT_TESTS.join(' ')}\``,
  );
}

/** Which of the agreement tests fail with this version. None of them: it agrees. */
async function failedTests(root: string, version: string): Promise<readonly string[]> {
  const { failed, stdout, stderr, timedOut } = await runProgram(
    process.execPath,
    ['--test', '--test-reporter=tap', ...AGREEMENT_TESTS],
    // A test that builds is itself run by Node's runner, which says so, and of which this one would take itself for a
    // part.
    { cwd: root, timeoutMs: LIMIT_MS, env: { [ENGINE_VARIABLE]: version, NODE_TEST_CONTEXT: undefined } },
  );
  if (!failed) return [];
  const names = [...stdout.matchAll(/^ *not ok \d+ - (.*)$/gm)].map(([, name = '']) => name);
  if (names.length > 0) return names.slice(0, TOLD_FAILURES).map((name) => `'${name}'`);
  return [timedOut ? `the tests in ${LIMIT_MS / 1000} s` : `the tests: ${stderr.trim()}`];
}
